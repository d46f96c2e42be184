"""Rigatoni state store: one JSON file per stream."""
