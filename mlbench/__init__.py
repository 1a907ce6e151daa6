"""mlbench: experiments in lifelong learning, network compression and interpretability."""

__version__ = "0.1.0"


def __getattr__(name: str):
    """Import `load` on first use, so that `import mlbench` stays light."""
    if name == "load":
        from mlbench.runs.checkpoint import load

        return load
    raise AttributeError(f"module 'mlbench' has no attribute {name!r}")
