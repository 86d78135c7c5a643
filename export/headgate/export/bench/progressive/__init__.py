"""Progressive members: NAIR and CLIO, and robustness to loss."""
