"""The file of a compressed network, and the exact encodings inside it."""
