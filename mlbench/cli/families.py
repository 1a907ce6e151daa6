"""The one place that knows the families: what a run asks of each, imported when it is asked for."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from mlbench.experiment.family import Family


def lifelong() -> "Family":
    """Lifelong learning."""
    from mlbench.experiment.family import Family
    from mlbench.lifelong import base, runner

    return Family("lifelong", base.Method, runner.prepare)


def compress() -> "Family":
    """Network compression."""
    from mlbench.compress import base, runner
    from mlbench.experiment.family import Family

    return Family("compress", base.Method, runner.prepare)


def explain() -> "Family":
    """Interpretability."""
    from mlbench.experiment.family import Family
    from mlbench.explain import base, runner

    return Family("explain", base.Method, runner.prepare)


def plain() -> "Family":
    """Training without a technique."""
    from mlbench.experiment import supervised
    from mlbench.experiment.family import Family
    from mlbench.experiment.technique import Technique

    return Family("plain", Technique, supervised.prepare)


FAMILIES = {"lifelong": lifelong, "compress": compress, "explain": explain, None: plain}


def family_of(config: "DictConfig") -> "Family":
    """The family whose technique a composed config has set. Raises UserError where there are two."""
    from mlbench.experiment.checked_config import chosen_family

    return FAMILIES[chosen_family(config)]()
