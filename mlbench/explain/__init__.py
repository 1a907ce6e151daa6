"""Interpretability: runner.py has a trained network explained; base.py says what an explanation is."""
