"""`bench control`, `bench drawn`, `bench sharing`: the controller beside rivals and an oracle."""
