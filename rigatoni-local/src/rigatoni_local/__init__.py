"""Destination `local`: writes batches as files in a folder, exactly once in effect."""
