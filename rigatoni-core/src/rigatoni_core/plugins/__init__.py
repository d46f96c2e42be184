"""Installed plugins: discovery, quarantine, checks."""
