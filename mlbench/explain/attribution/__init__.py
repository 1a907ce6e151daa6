"""Which parts of an input speak for an answer: maps, their controls and their scores."""
