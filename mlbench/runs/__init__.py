"""What lies on disk: a run's folder, checkpoints, the cache of trained networks."""
