"""Network compression: runner.py measures each file that was written; base.py says what a method may do."""
