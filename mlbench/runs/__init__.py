"""Files of runs: folders, checkpoints, the cache of trained networks."""
