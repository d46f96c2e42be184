"""The hook: what this distribution contributes."""
