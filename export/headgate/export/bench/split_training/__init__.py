"""Split training: accuracy for bytes, and its transport."""
