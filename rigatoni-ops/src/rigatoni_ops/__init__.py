"""Commands for operators: `rigatoni dlq` and `rigatoni tail`."""
