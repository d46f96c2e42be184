"""Test support for readers and writers of change events: raw BSON of every kind, and a reader of canonical lines."""
