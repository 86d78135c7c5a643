"""The run folder: its record, weights, checkpoints and epochs."""
