"""PostgreSQL servers for tests and demonstrations."""
