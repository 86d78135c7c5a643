"""`bench edge` and `bench device-cost`: many devices at one edge; what a device spends."""
