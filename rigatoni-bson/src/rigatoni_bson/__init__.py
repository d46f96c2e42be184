"""Raw BSON for sources and serializers: walking it, and writing it as JSON, without decoding what nobody asked for.

A library, no plugin: it has no components and no entry point.
"""
