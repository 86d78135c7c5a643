"""Messages between device and edge, and between the sides of split training, as bytes."""
