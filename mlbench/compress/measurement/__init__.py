"""Files of compressed networks, measured in a process that has not seen the training."""
