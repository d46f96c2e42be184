"""Benchmarks of pipelines, for docs/benchmarks.md."""
