"""Rigatoni listener: metrics, health and readiness of a pipeline over HTTP."""
