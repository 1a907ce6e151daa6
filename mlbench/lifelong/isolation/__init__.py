"""Methods that give each task parameters of its own."""
