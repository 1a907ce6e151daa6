"""Examples as tensors, and the streams of tasks that they are cut into."""
