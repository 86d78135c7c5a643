"""Which point a frame gets: what each costs, what the link may bear, the controller."""
