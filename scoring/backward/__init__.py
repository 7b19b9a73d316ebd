"""One forward and backward pass, and the statistics of every block that it computes."""
