"""Rigatoni destination: a folder of files."""
