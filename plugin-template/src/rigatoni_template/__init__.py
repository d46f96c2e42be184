"""A plugin for Rigatoni."""
