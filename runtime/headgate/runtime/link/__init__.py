"""What the device believes of its link: rate, delay, and how sure of them it is."""
