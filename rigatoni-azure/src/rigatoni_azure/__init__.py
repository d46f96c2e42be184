"""Destination `azure`: writes batches as blobs to Azure Storage, exactly once in effect."""
