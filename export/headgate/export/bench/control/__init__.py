"""`bench control` and `bench sharing`: the controller beside rivals and an oracle."""
