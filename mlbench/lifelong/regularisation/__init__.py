"""Methods that hold parameters, or answers, close to what they were."""
