"""Helpers for tests that load into BigQuery: a scripted server of jobs."""
