"""Reading, batching, writing, checkpointing: what a running pipeline does."""
