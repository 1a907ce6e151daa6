"""The one loop that trains, the parameter vector, and what is computed from a network: gradients, accuracy."""
