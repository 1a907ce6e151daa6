"""Many runs: how their jobs are started, remembered and summed up."""
