"""Rigatoni serializer: change events as Parquet files, one per batch."""
