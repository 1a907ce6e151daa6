"""Interpretability: one file per method."""
