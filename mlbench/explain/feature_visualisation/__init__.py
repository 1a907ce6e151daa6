"""Inputs that excite a unit or a class most."""
