"""A library for destinations that write change events to tables, with rows and position in one commit."""
