"""Commands for operators: `rigatoni dlq`."""
