"""Releases a distribution: checks, builds, tests and tags it (`nox -s release`)."""
