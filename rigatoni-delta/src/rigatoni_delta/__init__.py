"""Rigatoni destination: change events in Delta Lake tables, exactly once."""
