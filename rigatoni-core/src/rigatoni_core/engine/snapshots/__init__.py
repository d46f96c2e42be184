"""Snapshots of a stream: read in chunks while the stream runs, each row exactly once in effect."""
