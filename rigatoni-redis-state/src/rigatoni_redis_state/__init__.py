"""Rigatoni state store: checkpoints and leases in Redis, for several instances."""
