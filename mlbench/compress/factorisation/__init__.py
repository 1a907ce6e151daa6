"""Layers replaced by products of smaller ones."""
