"""One value of every BSON type, and unusual values that formats have to document. For tests and tables."""

import struct

from bson.decimal128 import Decimal128

from rigatoni_bson.testing.reading import bson_document, bson_string

EXAMPLES: dict[str, tuple[int, bytes]] = {
    "double": (0x01, struct.pack("<d", 1.5)),
    "double, NaN or infinite": (0x01, struct.pack("<d", float("nan"))),
    "string": (0x02, bson_string(b"text")),
    "string that is not UTF-8": (0x02, bson_string(b"\xff")),
    "document": (0x03, bson_document([(b"a", 0x10, struct.pack("<i", 1))])),
    "document with a field like a type wrapper": (0x03, bson_document([(b"$oid", 0x02, bson_string(b"x"))])),
    "array": (0x04, bson_document([(b"0", 0x10, struct.pack("<i", 1)), (b"1", 0x02, bson_string(b"b"))])),
    "binary": (0x05, b"\x02\0\0\0\0\xff\xff"),
    "UUID": (0x05, b"\x10\0\0\0\x04" + bytes(range(16))),
    "undefined": (0x06, b""),
    "ObjectId": (0x07, bytes(range(12))),
    "boolean": (0x08, b"\1"),
    "date": (0x09, struct.pack("<q", 1_714_564_805_120)),
    "date outside 1970 to 9999": (0x09, struct.pack("<q", 8_640_000_000_000_000)),
    "null": (0x0A, b""),
    "regular expression": (0x0B, b"^a\0i\0"),
    "DBPointer": (0x0C, bson_string(b"db.c") + bytes(12)),
    "code": (0x0D, bson_string(b"f()")),
    "symbol": (0x0E, bson_string(b"s")),
    "code with scope": (0x0F, b"\x11\0\0\0" + bson_string(b"f()") + bson_document([])),
    "int32": (0x10, struct.pack("<i", 1)),
    "timestamp": (0x11, struct.pack("<II", 2, 1)),
    "int64": (0x12, struct.pack("<q", 2**53 + 1)),
    "decimal128": (0x13, Decimal128("1.10").bid),
    "decimal128, NaN or infinite": (0x13, Decimal128("NaN").bid),
    "MaxKey": (0x7F, b""),
    "MinKey": (0xFF, b""),
}
"""The name, BSON type and bytes of each value."""
