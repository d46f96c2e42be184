"""Compares the documents of a source with those that a destination's events give, in memory that stays bounded."""

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Self

import attrs
from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.api.events import Namespace, Timestamp

_TABLES = """
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16384;
CREATE TABLE found (key BLOB PRIMARY KEY, namespace TEXT, hash BLOB) WITHOUT ROWID;
CREATE TABLE held (
    key BLOB PRIMARY KEY, namespace TEXT, time INTEGER, is_row INTEGER, n INTEGER, kind TEXT, base INTEGER, hash BLOB
) WITHOUT ROWID;
CREATE TABLE later (key BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE seen (token BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE doubled (key BLOB) ;
"""

_HOLD = """
INSERT INTO held VALUES (:key, :namespace, :time, :is_row, :n, :kind, :kind = 'whole', :hash)
ON CONFLICT (key) DO UPDATE SET time = excluded.time, is_row = excluded.is_row, n = excluded.n, kind = excluded.kind,
    base = excluded.kind = 'whole' OR (excluded.kind = 'delta' AND base), hash = excluded.hash
WHERE (excluded.time, excluded.is_row, excluded.n) > (time, is_row, n)
"""

_VERDICTS = """
SELECT CASE
    WHEN found.key IN (SELECT key FROM later) THEN 'changed_since'
    WHEN held.key IS NULL THEN CASE WHEN :complete THEN 'missing' ELSE 'unknown' END
    WHEN held.kind = 'gone' THEN 'missing'
    WHEN held.kind = 'delta' THEN CASE WHEN held.base OR NOT :complete THEN 'partial' ELSE 'missing' END
    WHEN held.hash = found.hash THEN 'equal'
    ELSE 'different' END AS verdict, found.key AS key
FROM found LEFT JOIN held ON held.key = found.key
UNION ALL
SELECT CASE WHEN key IN (SELECT key FROM later) THEN 'changed_since' ELSE 'extra' END, key
FROM held WHERE kind <> 'gone' AND key NOT IN (SELECT key FROM found)
UNION ALL
SELECT 'doubled', key FROM doubled
"""

DIFFERENCES = ("missing", "extra", "different", "doubled")
"""The verdicts that make a stream different from its collections."""

NOT_COMPARED = ("changed_since", "partial", "unknown")
"""The verdicts of documents that cannot be compared."""

VERDICTS = ("equal", *DIFFERENCES, *NOT_COMPARED)
"""What may be said of a document; `doubled` of an event."""


@attrs.frozen(kw_only=True)
class Change:
    """What a document that was read back says.

    Attributes:
        token: A hash of what identifies the event.
        time: Its cluster time.
        operation: Its operation, in the words of MongoDB.
        namespace: The collection; None for events of a database or of the whole deployment.
        key: A hash of namespace and `_id`; None for events of a whole collection.
        is_row: Whether it is a row of a snapshot.
        content: A hash of the whole document; None if the event has none.
    """

    token: bytes
    time: Timestamp
    operation: str
    namespace: Namespace | None
    key: bytes | None
    is_row: bool
    content: bytes | None

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """Return what a document says.

        Raises:
            ConfigurationError: It is not a change event with its fields and their types.
        """
        try:
            token, time, names = document["_id"], document["clusterTime"], document.get("ns", {})
            namespace = Namespace(names["db"], names["coll"]) if "coll" in names else None
            key = document["documentKey"]["_id"] if "documentKey" in document else None
            whole = document.get("fullDocument")
            return cls(
                token=_hash(token),
                time=Timestamp(time.time, time.inc),
                operation=document["operationType"],
                namespace=namespace,
                key=_hash((str(namespace), key)) if "documentKey" in document else None,
                is_row="snapshot" in token and "document" in token,
                content=None if whole is None else _hash(whole),
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"the destination holds documents that are not whole change events ({type(error).__name__})",
                remedy="Verify pipelines whose serializer keeps all types, such as json in the mode relaxed.",
            ) from None

    @property
    def kind(self) -> str:
        """What is known of the document after this event: `gone`, its `whole` content, or only a `delta`."""
        if self.operation == "delete":
            return "gone"
        return "delta" if self.content is None else "whole"


class Comparison:
    """The documents of a source, and those that the events of a destination give; only hashes are kept.

    They are in a temporary file without a name, which vanishes with this object. Use `opened`.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._applied = 0

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator[Self]:
        """Yield an empty comparison."""
        with closing(sqlite3.connect("", isolation_level=None)) as database:
            database.executescript(_TABLES)
            database.execute("BEGIN")
            yield cls(database)

    def found(self, row: Change) -> None:
        """Note a document of the source."""
        values = (row.key, str(row.namespace), row.content)
        self._database.execute("INSERT OR REPLACE INTO found VALUES (?, ?, ?)", values)

    def apply(self, change: Change, until: Timestamp) -> None:
        """Apply an event of the destination. Rows of snapshots come first, then the changes in their order.

        A document that an event after `until` changes is not compared.
        """
        run, self._applied = self._database.execute, self._applied + 1
        if not run("INSERT OR IGNORE INTO seen VALUES (?)", (change.token,)).rowcount:
            run("INSERT INTO doubled VALUES (?)", (change.key or change.token,))
        elif change.key is None:
            pass
        elif change.time > until:
            run("INSERT OR IGNORE INTO later VALUES (?)", (change.key,))
        else:
            run(
                _HOLD,
                {
                    "key": change.key,
                    "namespace": str(change.namespace),
                    "time": _number(change.time),
                    "is_row": change.is_row,
                    "n": self._applied,
                    "kind": change.kind,
                    "hash": change.content,
                },
            )

    def forget(self, before: Timestamp, namespace: Namespace | None = None) -> None:
        """Treat documents whose newest event is older than this as deleted: those of one collection, or all."""
        self._database.execute(
            "UPDATE held SET kind = 'gone' WHERE time < :time AND (:all OR namespace = :namespace)",
            {"time": _number(before), "all": namespace is None, "namespace": str(namespace)},
        )

    def verdicts(self, *, complete: bool, show: int) -> tuple[Mapping[str, int], Mapping[str, list[str]]]:
        """Return how many documents there are of each verdict, and hashes of some that differ.

        Args:
            complete: Whether the destination knows every document, so that one it does not know is missing.
            show: How many hashes of each verdict are returned, at most.
        """
        counts, hashes = dict.fromkeys(VERDICTS, 0), dict[str, list[str]]()
        for verdict, key in self._database.execute(_VERDICTS, {"complete": complete}):
            counts[verdict] += 1
            if verdict in DIFFERENCES and len(shown := hashes.setdefault(verdict, [])) < show:
                shown.append(key.hex())
        return counts, hashes


def _hash(value: object) -> bytes:
    return hashlib.sha256(repr(value).encode("utf-8", "surrogatepass")).digest()[:16]


def _number(time: Timestamp) -> int:
    return time.seconds << 32 | time.increment
