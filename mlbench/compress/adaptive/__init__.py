"""Networks whose size or depth is chosen when they are used."""
