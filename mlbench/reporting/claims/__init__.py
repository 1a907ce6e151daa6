"""What the lectures claim, and what decides each claim."""
