"""Rigatoni serializer: change events as CSV (RFC 4180)."""
