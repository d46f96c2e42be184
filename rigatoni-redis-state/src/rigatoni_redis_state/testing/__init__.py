"""Redis servers for tests."""
