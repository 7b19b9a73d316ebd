"""One forward and backward pass, and what every block keeps of it."""
