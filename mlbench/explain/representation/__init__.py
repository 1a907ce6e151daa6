"""What the layers of a network hold."""
