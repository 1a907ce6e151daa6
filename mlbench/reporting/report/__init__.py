"""One page over all runs below a folder."""
