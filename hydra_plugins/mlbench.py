"""The launchers of mlbench, where Hydra looks for them: it takes none from outside this namespace package."""

from mlbench.cli.launchers import processes, slurm


class Serial(processes.Serial):
    """One job after the other."""


class Processes(processes.Processes):
    """Several jobs at once on this machine."""


class Slurm(slurm.Slurm):
    """Jobs of a SLURM cluster."""
