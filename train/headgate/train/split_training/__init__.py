"""Split training across a network: Algorithms 1 and 2 of arXiv 2311.05739 (deprune)."""
