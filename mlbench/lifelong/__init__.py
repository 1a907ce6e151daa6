"""Lifelong learning: base.py runs and measures; every other file is one method."""
