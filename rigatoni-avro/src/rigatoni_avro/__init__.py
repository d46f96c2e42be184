"""Rigatoni serializer: change events as Avro object container files."""
