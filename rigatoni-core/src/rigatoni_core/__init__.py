"""Rigatoni's core: contracts, the worker loop, the plugin catalog, configuration and the command."""
