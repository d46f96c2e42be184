"""Rigatoni source: MongoDB change streams."""
