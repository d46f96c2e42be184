"""Batches of change events as Arrow tables: columns, inferred types, nested documents, schema rules.

A library, not a plugin: it has no components and no entry point.
"""
