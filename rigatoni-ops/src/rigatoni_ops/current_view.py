"""The query that gives the documents of a collection, as they are now, out of its change events.

The newest change of each document counts, in the order of cluster time, increment and ordinal. A row of a snapshot
comes after the changes of its time. A drop of the collection or its database, a rename, and another collection that
was renamed to its name empty it. Changes before `since` do not count: that is the `anchor` of a snapshot after a lost
position.

Only aggregates, windows and common table expressions are used, so the dialects differ in a few expressions.
"""

from collections.abc import Mapping

import attrs

_JSON = """(
    SELECT json ->> '$.operationType' AS operation, json ->> '$.ns.db' AS database, json ->> '$.ns.coll' AS collection,
        to_timestamp(CAST(json ->> '$.clusterTime."$timestamp".t' AS BIGINT)) AS cluster_time,
        CAST(json ->> '$.clusterTime."$timestamp".i' AS BIGINT) AS cluster_time_increment,
        CAST(json ->> '$.ordinal' AS BIGINT) AS ordinal,
        json ->> '$.documentKey' AS document_key, json ->> '$.fullDocument' AS full_document,
        CAST(json AS VARCHAR) AS unknown_fields
    FROM {relation}
) AS events"""
"""JSON lines as the columns of the tabular formats."""

_VIEW = """\
CREATE OR REPLACE VIEW {name} AS
WITH changes AS (
    SELECT operation, document_key, full_document, cluster_time, database, collection,
        COALESCE(cluster_time_increment, 0) AS increment,
        CASE WHEN operation = 'read' THEN 1 ELSE 0 END AS is_row,
        COALESCE(ordinal, 0) AS place,
        {to_database} AS to_database,
        {to_collection} AS to_collection
    FROM {relation}
    WHERE database IS NOT NULL{since}
), emptied AS (
    SELECT cluster_time AS last_time, increment AS last_increment, place AS last_place
    FROM (
        SELECT cluster_time, increment, place FROM changes
        WHERE (operation IN ('drop', 'rename') AND database = {database} AND collection = {collection})
            OR (operation = 'rename' AND to_database = {database} AND to_collection = {collection})
            OR (operation = 'dropDatabase' AND database = {database})
        UNION ALL
        SELECT MIN(cluster_time), -1, 0 FROM changes
    ) AS ends
    ORDER BY last_time DESC, last_increment DESC, last_place DESC
    LIMIT 1
), ranked AS (
    SELECT operation, document_key, full_document,
        CASE WHEN full_document <> 'null' AND full_document <> '' THEN 1 ELSE 0 END AS is_whole,
        ROW_NUMBER() OVER (
            PARTITION BY document_key ORDER BY cluster_time DESC, increment DESC, is_row DESC, place DESC
        ) AS age
    FROM changes CROSS JOIN emptied
    WHERE database = {database} AND collection = {collection}
        AND operation IN ('insert', 'update', 'replace', 'delete', 'read')
        AND (
            cluster_time > last_time
            OR (cluster_time = last_time AND increment > last_increment)
            OR (cluster_time = last_time AND increment = last_increment AND (is_row = 1 OR place > last_place))
        )
), dated AS (
    SELECT document_key, full_document, age,
        MIN(CASE WHEN is_whole = 1 THEN age END) OVER (PARTITION BY document_key) AS whole,
        MIN(CASE WHEN operation = 'delete' THEN age END) OVER (PARTITION BY document_key) AS deleted
    FROM ranked
)
SELECT document_key,
    MAX(CASE WHEN age = whole THEN full_document END) AS document,
    COALESCE(MIN(whole), 0) = 1 AS is_current
FROM dated
WHERE deleted IS NULL OR age < deleted
GROUP BY document_key"""


@attrs.frozen
class Dialect:
    """Where the engines differ.

    Attributes:
        field: The text at a path of a JSON text; `{path}` is like `to.db`.
        time: A time from `{seconds}` since the epoch.
    """

    field: str
    time: str


DIALECTS: Mapping[str, Dialect] = {
    "duckdb": Dialect("(unknown_fields ->> '$.{path}')", "to_timestamp({seconds})"),
    "spark": Dialect("get_json_object(unknown_fields, '$.{path}')", "timestamp_seconds({seconds})"),
    "trino": Dialect("json_extract_scalar(unknown_fields, '$.{path}')", "from_unixtime({seconds})"),
    "athena": Dialect("json_extract_scalar(unknown_fields, '$.{path}')", "from_unixtime({seconds})"),
    "snowflake": Dialect("JSON_EXTRACT_PATH_TEXT(unknown_fields, '{path}')", "TO_TIMESTAMP({seconds})"),
    "bigquery": Dialect("JSON_VALUE(unknown_fields, '$.{path}')", "TIMESTAMP_SECONDS({seconds})"),
}
"""The engines that the view is written for."""


def current_view(
    database: str,
    collection: str,
    *,
    name: str,
    relation: str,
    dialect: str = "duckdb",
    since: tuple[int, int] | None = None,
    json_lines: bool = False,
) -> str:
    """Return the statement that creates the view.

    Args:
        database: The database.
        collection: The collection.
        name: The name of the view, as the engine spells it.
        relation: A table or a table function with the change events, as the engine spells it.
        dialect: One of `DIALECTS`.
        since: Seconds and increment of the cluster time before which changes do not count.
        json_lines: Whether the relation has one column `json`, an event as JSON in each row; DuckDB only.
    """
    engine = DIALECTS[dialect]
    condition = ""
    if since is not None:
        time = engine.time.format(seconds=since[0])
        later = f"cluster_time > {time} OR (cluster_time = {time} AND cluster_time_increment >= {since[1]})"
        condition = f"\n        AND ({later})"
    return _VIEW.format(
        name=name,
        relation=_JSON.format(relation=relation) if json_lines else relation,
        database=_text(database, dialect),
        collection=_text(collection, dialect),
        to_database=engine.field.format(path="to.db"),
        to_collection=engine.field.format(path="to.coll"),
        since=condition,
    )


def _text(value: str, dialect: str) -> str:
    """Return a text as the engine quotes it. Backslashes begin escapes in BigQuery, Spark and Snowflake."""
    if dialect in ("bigquery", "spark", "snowflake"):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return "'" + value.replace("'", "''") + "'"
