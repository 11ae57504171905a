"""Training: the loop, the averaged weights, checkpoints, the log."""
