"""Destination `s3`: writes batches as objects to S3 and compatible stores, exactly once in effect."""
