"""Plans split training ahead: which maps cross, from which nodes, in which epoch (after PACT)."""
