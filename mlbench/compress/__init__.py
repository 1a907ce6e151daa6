"""Network compression: one file per method."""
