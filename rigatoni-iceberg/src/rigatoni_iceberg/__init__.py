"""Rigatoni destination: change events in Apache Iceberg tables, exactly once, without a JVM."""
