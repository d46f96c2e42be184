"""Snapshots of MongoDB: plans ranges of collections, and reads them in chunks at a cluster time."""
