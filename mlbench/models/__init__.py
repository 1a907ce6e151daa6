"""Plain torch modules, and surgery on their layers; nothing of mlbench inside."""
