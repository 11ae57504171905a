"""What lies on the disk: the cache, the hub's cache, checkpoints, logs of JSON."""
