"""The running pipeline: reading, batching, writing, checkpointing."""
