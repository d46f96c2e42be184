"""Destination `s3`: batches become objects in S3 or another object store, each event exactly once in effect."""
