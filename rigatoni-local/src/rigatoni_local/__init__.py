"""Destination `local`: batches become files in a folder, each event exactly once in effect."""
