"""What a pipeline does, in figures: for people and for exporters of metrics."""
