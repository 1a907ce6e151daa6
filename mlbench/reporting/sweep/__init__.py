"""Tables and figures over the runs of one sweep."""
