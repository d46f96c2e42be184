"""The tables and the statements that fill them from the staging table of a transaction.

The staging table has the columns that all tabular formats share, so a row of CSV is a row of it. Its column `place`
counts the rows in the order of the stream.
"""

import hashlib
import string
from collections.abc import Iterator, Mapping

import attrs
from psycopg.sql import SQL, Composed, Identifier, Literal
from rigatoni_bson.columns import COLUMNS, Kind
from rigatoni_core.api.events import Stream

LONGEST = 63
"""Bytes of a name (PostgreSQL manual, "Identifiers and Key Words"); the server cuts longer ones."""

_TYPES = {
    Kind.TOKEN: "json",
    Kind.DOCUMENT: "json",
    Kind.TEXT: "text",
    Kind.INTEGER: "bigint",
    Kind.SECONDS: "timestamptz",
    Kind.MILLISECONDS: "timestamptz",
}
POSITIONS = "rigatoni_positions"
"""The table of positions, one row per stream."""
RECORDS = "rigatoni_records"
"""The table of records that are created once, such as the plans of snapshots."""
DELETIONS = "rigatoni_deletions"
"""Where `current` notes what is deleted while a snapshot runs; an empty `_id` means every document."""

OWN: Mapping[str, str] = {
    POSITIONS: "stream text PRIMARY KEY, record json NOT NULL, updated_at timestamptz NOT NULL",
    RECORDS: "stream text, name text, content bytea NOT NULL, PRIMARY KEY (stream, name)",
    DELETIONS: 'stream text, target text, _id text COLLATE "C", cluster_time timestamptz, '
    "cluster_time_increment bigint, PRIMARY KEY (stream, target, _id)",
}
"""The tables of Rigatoni itself, and their columns."""

_NAMES = SQL(", ").join(Identifier(column.name) for column in COLUMNS)

STAGE = SQL(
    "CREATE TEMPORARY TABLE IF NOT EXISTS rigatoni_staging ({}, place bigint GENERATED ALWAYS AS IDENTITY) "
    "ON COMMIT DELETE ROWS"
).format(SQL(", ").join(SQL(f"{column.name} {_TYPES[column.kind]}") for column in COLUMNS))
COPY = SQL("COPY pg_temp.rigatoni_staging ({}) FROM STDIN (FORMAT csv)").format(_NAMES)
NAMESPACES = """
    SELECT DISTINCT database, collection FROM pg_temp.rigatoni_staging
    WHERE place > %s AND place < %s AND (operation = ANY(%s) OR NOT %s)"""
RESETS = """
    SELECT place, operation, database, collection, unknown_fields->'to'->>'db', unknown_fields->'to'->>'coll'
    FROM pg_temp.rigatoni_staging WHERE operation IN ('drop', 'rename') ORDER BY place"""
CHANGES = ["insert", "update", "replace", "delete", "read"]
"""The operations that change a document."""
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
EVERYTHING = (0, 2**62)
"""Places before and after every row."""

_LOG = """
    INSERT INTO {table} ({names}) SELECT {names} FROM pg_temp.rigatoni_staging
    WHERE place > %s AND place < %s AND (database, collection) IS NOT DISTINCT FROM (%s, %s) ORDER BY place"""
_CURRENT = """
    WITH newest AS (
        SELECT DISTINCT ON ((document_key->'_id')::text) (document_key->'_id')::text AS _id, *
        FROM pg_temp.rigatoni_staging
        WHERE place > %s AND place < %s AND database = %s AND collection = %s AND operation = ANY({changes})
        ORDER BY (document_key->'_id')::text, place DESC
    ), deleted AS (
        DELETE FROM {table} USING newest WHERE {table}._id = newest._id AND newest.operation = 'delete'
    )
    INSERT INTO {table} (_id, document, cluster_time, cluster_time_increment, ordinal)
    SELECT _id, full_document, cluster_time, cluster_time_increment, ordinal FROM newest
    WHERE operation <> 'delete' AND json_typeof(full_document) = 'object'
    ON CONFLICT (_id) DO UPDATE SET
        document = excluded.document, cluster_time = excluded.cluster_time,
        cluster_time_increment = excluded.cluster_time_increment, ordinal = excluded.ordinal"""

_ROWS = """
    INSERT INTO {table} AS held (_id, document, cluster_time, cluster_time_increment, ordinal)
    SELECT (document_key->'_id')::text, full_document, cluster_time, cluster_time_increment, ordinal
    FROM pg_temp.rigatoni_staging AS read
    WHERE place > %s AND place < %s AND database = %s AND collection = %s AND json_typeof(full_document) = 'object'
    AND NOT EXISTS (
        SELECT FROM {deletions} AS later
        WHERE later.stream = %s AND later.target = %s AND later._id IN ((document_key->'_id')::text, '')
        AND (later.cluster_time, later.cluster_time_increment) > (read.cluster_time, read.cluster_time_increment))
    ON CONFLICT (_id) DO UPDATE SET
        document = excluded.document, cluster_time = excluded.cluster_time,
        cluster_time_increment = excluded.cluster_time_increment, ordinal = excluded.ordinal
    WHERE (held.cluster_time, held.cluster_time_increment) IS NULL
    OR (held.cluster_time, held.cluster_time_increment) <= (excluded.cluster_time, excluded.cluster_time_increment)"""
"""Rows of a snapshot: true at their time, so they never replace a later version, nor bring back what was deleted."""

_DELETED = """
    INSERT INTO {deletions} AS known
    SELECT DISTINCT ON ((document_key->'_id')::text)
        %s, %s, (document_key->'_id')::text, cluster_time, cluster_time_increment
    FROM pg_temp.rigatoni_staging
    WHERE place > %s AND place < %s AND database = %s AND collection = %s AND operation = 'delete'
    ORDER BY (document_key->'_id')::text, place DESC
    ON CONFLICT (stream, target, _id) DO UPDATE SET
        cluster_time = excluded.cluster_time, cluster_time_increment = excluded.cluster_time_increment"""


@attrs.frozen
class Tables:
    """The tables of a destination.

    Attributes:
        schema: Where they are.
        template: Their names, with `{pipeline}`, `{stream}`, `{database}` and `{collection}`.
        current: Whether they hold documents, not events.
        document_type: The type of documents: `jsonb` or `json`.
    """

    schema: str
    template: str
    current: bool
    document_type: str

    def __attrs_post_init__(self) -> None:
        found = {name for _, name, _, _ in string.Formatter().parse(self.template) if name is not None}
        if unknown := found - {"pipeline", "stream", "database", "collection"}:
            raise ValueError(f"table names {{{min(unknown)}}}; it may name pipeline, stream, database and collection")
        if self.current and "collection" not in found:
            raise ValueError('mode = "current" keeps each collection in a table of its own: name {collection} in table')

    def name(self, stream: Stream, database: str | None, collection: str | None) -> str:
        """Return the name of a namespace's table; one that is too long ends in `~` and 64 bits of its hash."""
        name = self.template.format(
            pipeline=stream.pipeline, stream=stream.name, database=database or "", collection=collection or ""
        )
        if len(name.encode()) > LONGEST:
            digest = hashlib.sha256(name.encode()).hexdigest()[:16]
            name = name.encode()[: LONGEST - 17].decode(errors="ignore") + f"~{digest}"
        return name

    def identifier(self, name: str) -> Identifier:
        """Return a table's name as statements quote it."""
        return Identifier(self.schema, name)

    def create(self, name: str) -> Composed:
        """Return the statement that creates a table."""
        if self.current:
            columns = '_id text COLLATE "C" PRIMARY KEY, document {} NOT NULL, cluster_time timestamptz, '
            columns += "cluster_time_increment bigint, ordinal bigint"
        else:
            columns = ", ".join(self._columns())
        declared = SQL(columns).format(SQL(self.document_type)) if self.current else SQL(columns)
        return SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(self.identifier(name), declared)

    def fill(self, name: str) -> Composed:
        """Return the statement that writes a namespace's rows; its values are two places and the namespace."""
        changes = SQL("ARRAY[{}]").format(SQL(", ").join(map(Literal, CHANGES)))
        template = _CURRENT if self.current else _LOG
        return SQL(template).format(table=self.identifier(name), names=_NAMES, changes=changes)

    def fill_rows(self, name: str) -> Composed:
        """Return the statement that writes rows of a snapshot; its values are those of `fill`, a stream and `name`."""
        return SQL(_ROWS).format(table=self.identifier(name), deletions=self.identifier(DELETIONS))

    def note_deletes(self) -> Composed:
        """Return the statement that notes deletes; its values are a stream, a table, and those of `fill`."""
        return SQL(_DELETED).format(deletions=self.identifier(DELETIONS))

    def _columns(self) -> Iterator[str]:
        for column in COLUMNS:
            kind = _TYPES[column.kind]
            yield f"{column.name} {self.document_type if kind == 'json' else kind}"
