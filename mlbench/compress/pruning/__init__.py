"""Weights or whole neurons removed."""
