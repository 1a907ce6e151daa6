"""A smaller network learns from the outputs of a larger one."""
