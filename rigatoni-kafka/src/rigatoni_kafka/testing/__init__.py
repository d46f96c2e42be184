"""Helpers for tests that write to Kafka: a broker in a process."""
