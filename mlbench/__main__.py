"""`python -m mlbench` is the command `mlbench`."""

import sys

from mlbench.cli.main import main

sys.exit(main())
