"""The file of a compressed network, and the exact codings inside it."""
