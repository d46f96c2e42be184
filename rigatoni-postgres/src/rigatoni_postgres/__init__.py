"""Rigatoni destination: change events as rows in PostgreSQL, exactly once."""
