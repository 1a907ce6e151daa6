"""The launchers and the sweeper of mlbench, where Hydra looks for them: it takes none from outside this namespace."""

from mlbench.cli import sweeper
from mlbench.cli.launchers import processes, slurm


class Grid(sweeper.Grid):
    """Every combination of values."""


class Serial(processes.Serial):
    """One job after the other."""


class Processes(processes.Processes):
    """Several jobs at once on this machine."""


class Slurm(slurm.Slurm):
    """Jobs of a SLURM cluster."""
