"""Methods that penalise changes of the parameters, or of the outputs."""
