"""Rigatoni listener: traces and metrics of a pipeline through the OpenTelemetry API."""
