"""Rigatoni serializer: change events as newline-delimited Extended JSON."""
