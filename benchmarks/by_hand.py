"""Hand-written conversion to each format with the same libraries, without Rigatoni.

Each event is decoded to a dict. Its common columns are selected, and its documents are dumped with json_util.
"""

import csv
import io
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
from bson import ObjectId, decode, json_util

_DOCUMENTS = {
    "document_key": "documentKey",
    "full_document": "fullDocument",
    "full_document_before_change": "fullDocumentBeforeChange",
    "update_description": "updateDescription",
    "lsid": "lsid",
}
_KNOWN = {"_id", "operationType", "ns", "clusterTime", "wallTime", "txnNumber", *_DOCUMENTS.values()}
_TIME = {"type": "long", "logicalType": "timestamp-millis"}
_TYPES = {"cluster_time": _TIME, "wall_time": _TIME, "cluster_time_increment": "long", "txn_number": "long"}


def json_lines(raws: list[bytes]) -> bytes:
    return "".join(json_util.dumps(decode(raw)) + "\n" for raw in raws).encode()


def rows(raws: list[bytes]) -> list[dict[str, Any]]:
    found = []
    for raw in raws:
        event = decode(raw)
        rest = {name: value for name, value in event.items() if name not in _KNOWN}
        found.append(
            {
                "resume_token": json_util.dumps(event["_id"]),
                "operation": event["operationType"],
                "database": event["ns"]["db"],
                "collection": event["ns"]["coll"],
                "cluster_time": event["clusterTime"].as_datetime(),
                "cluster_time_increment": event["clusterTime"].inc,
                "wall_time": event.get("wallTime"),
                **{column: json_util.dumps(event[name]) for column, name in _DOCUMENTS.items() if name in event},
                "txn_number": event.get("txnNumber"),
                "unknown_fields": json_util.dumps(rest) if rest else None,
            }
        )
    return found


NAMES = ["resume_token", "operation", "database", "collection", "cluster_time", "cluster_time_increment", "wall_time"]
NAMES += [*_DOCUMENTS, "txn_number", "unknown_fields"]
SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Event",
        "fields": [{"name": name, "type": ["null", _TYPES.get(name, "string")], "default": None} for name in NAMES],
    }
)


def csv_module(raws: list[bytes]) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, NAMES)
    writer.writeheader()
    writer.writerows(rows(raws))
    return file.getvalue().encode()


def fastavro_writer(raws: list[bytes], codec: str) -> bytes:
    file = io.BytesIO()
    fastavro.writer(file, SCHEMA, rows(raws), codec=codec)
    return file.getvalue()


def parquet(raws: list[bytes]) -> bytes:
    return _written(pa.Table.from_pylist(rows(raws)))


def parquet_nested(raws: list[bytes]) -> bytes:
    """Convert with pyarrow's inference, for documents with equal fields and types."""
    found = rows(raws)
    for row, raw in zip(found, raws, strict=True):
        document = decode(raw)["fullDocument"]
        row["full_document"] = {
            name: str(value) if isinstance(value, ObjectId) else value for name, value in document.items()
        }
    return _written(pa.Table.from_pylist(found))


def _written(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()
