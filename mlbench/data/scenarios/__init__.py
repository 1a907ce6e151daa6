"""How a stream of tasks is made out of one dataset."""
