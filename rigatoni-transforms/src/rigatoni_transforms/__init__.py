"""Transforms over raw BSON: what leaves the database is what should."""
