"""Destination `gcs`: writes batches as objects to Google Cloud Storage, exactly once in effect."""
