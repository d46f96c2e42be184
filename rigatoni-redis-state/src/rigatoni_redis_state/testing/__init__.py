"""For tests that need a Redis."""
