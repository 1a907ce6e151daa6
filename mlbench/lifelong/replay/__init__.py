"""Methods that learn from stored or generated examples of earlier tasks."""
