"""`python -m mlbench` is the command `mlbench`."""

import sys

from mlbench.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
