"""Lifelong learning: runner.py learns task after task and measures; base.py says what a method may do."""
