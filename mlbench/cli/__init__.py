"""The console script: what the command line understands, without torch; everything else goes to run.py."""
