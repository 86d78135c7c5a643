"""How members are trained: cost, selection, rate weights."""
