"""Optional accelerator of `rigatoni_bson` and `rigatoni_transforms`: works on raw BSON without the interpreter."""

from rigatoni_native._native import (
    arrow_columns,
    avro_rows,
    csv_rows,
    document_findings,
    documents_of,
    fallbacks,
    json_lines,
    rewriter,
    snapshot_rows,
)

__all__ = [
    "arrow_columns",
    "avro_rows",
    "csv_rows",
    "document_findings",
    "documents_of",
    "fallbacks",
    "json_lines",
    "rewriter",
    "snapshot_rows",
]
