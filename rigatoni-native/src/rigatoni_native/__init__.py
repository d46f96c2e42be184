"""Optional accelerator of `rigatoni_bson`: converts raw BSON to text without the interpreter."""

from rigatoni_native._native import (
    arrow_columns,
    avro_rows,
    csv_rows,
    document_findings,
    documents_of,
    fallbacks,
    json_lines,
)

__all__ = ["arrow_columns", "avro_rows", "csv_rows", "document_findings", "documents_of", "fallbacks", "json_lines"]
