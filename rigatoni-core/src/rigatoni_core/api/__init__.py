"""Everything that a plugin may import from core."""
