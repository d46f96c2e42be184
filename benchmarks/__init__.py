"""Measurements: what a pipeline costs, in one run, for docs/benchmarks.md."""
