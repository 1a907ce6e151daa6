"""Trackers of experiments, beside the files of a run."""
