"""`headgate bench`: what is claimed, measured beside a bound or a peer of the same run."""
