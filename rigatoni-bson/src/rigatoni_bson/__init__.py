"""Reads raw BSON, and writes it as JSON, without decoding unused fields. For sources and serializers.

This is a library, not a plugin: it has no components and no entry point.
"""
