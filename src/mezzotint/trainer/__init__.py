"""Training: the loop, the objectives and the averages of the weights."""
