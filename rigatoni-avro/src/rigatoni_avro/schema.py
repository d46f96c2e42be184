"""The Avro schema of change events (Avro specification 1.12, avro.apache.org/docs/1.12.0/specification)."""

from typing import Any, Final

from fastavro.schema import fingerprint, to_parsing_canonical_form
from rigatoni_bson.columns import COLUMNS, Kind

_TIME = {"type": "long", "logicalType": "timestamp-millis"}
_TYPES: Final[dict[Kind, Any]] = {
    Kind.TOKEN: "string",
    Kind.TEXT: "string",
    Kind.INTEGER: "long",
    Kind.SECONDS: _TIME,
    Kind.MILLISECONDS: _TIME,
}


def event_schema(*, bson: bool) -> dict[str, Any]:
    """Return the schema of the record `rigatoni.ChangeEvent`: a nullable field for each common column.

    With `bson`, documents are `bytes`, otherwise JSON in a `string`.
    """
    types = {**_TYPES, Kind.DOCUMENT: "bytes" if bson else "string"}
    return {
        "type": "record",
        "name": "ChangeEvent",
        "namespace": "rigatoni",
        "doc": "A change event of MongoDB",
        "fields": [
            {"name": column.name, "doc": column.meaning, "type": ["null", types[column.kind]], "default": None}
            for column in COLUMNS
        ],
    }


def fingerprint_of(schema: dict[str, Any]) -> str:
    """Return the CRC-64-AVRO of the Parsing Canonical Form: 16 hexadecimal digits, lowest byte first.

    This is the byte order of the single-object encoding (Avro specification, "Schema Fingerprints").
    """
    digits: str = fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")
    return digits
