"""Helpers for tests that write to S3: a real server in a process, and a proxy that injects faults."""
