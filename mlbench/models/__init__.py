"""Plain torch modules; nothing of mlbench inside."""
