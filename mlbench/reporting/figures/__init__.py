"""Figures drawn from tables and results; no torch, no global state."""
