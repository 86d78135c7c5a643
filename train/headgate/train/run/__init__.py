"""How a run goes: what it is asked for, its stages one after the other, interruption, resume."""
