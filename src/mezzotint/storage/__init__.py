"""Files on the disk: the cache, downloads from the hub, checkpoints, JSON logs."""
