"""For tests of whatever reads or writes change events: raw BSON of every kind, and a reader of canonical lines."""
