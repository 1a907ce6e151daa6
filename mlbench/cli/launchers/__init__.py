"""How the jobs of a sweep are started: in processes of this machine, or on a SLURM cluster."""
