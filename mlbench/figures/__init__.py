"""Pictures drawn from tables and findings; no torch, no global state."""
