"""Split training across a network: deprune (arXiv 2311.05739) and AdaSplit (arXiv 2112.01637)."""
