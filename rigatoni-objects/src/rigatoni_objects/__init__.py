"""The delivery protocol for stores of immutable named objects: each event exactly once in effect.

A library, not a plugin: it has no components and no entry point.
"""
