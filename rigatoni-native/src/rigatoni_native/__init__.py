"""Raw BSON to text without the interpreter: what `rigatoni_bson` uses when it is installed. Nobody else needs it."""

from rigatoni_native._native import (
    arrow_columns,
    avro_rows,
    csv_rows,
    document_findings,
    documents_of,
    json_lines,
)

__all__ = ["arrow_columns", "avro_rows", "csv_rows", "document_findings", "documents_of", "json_lines"]
