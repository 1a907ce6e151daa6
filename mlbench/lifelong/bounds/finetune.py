"""Fine-tuning: nothing is done against forgetting."""

from dataclasses import dataclass

from mlbench.lifelong.base import Method


@dataclass
class Finetune(Method):
    """Learns each task from where the last one ended: the lower bound, catastrophic forgetting."""
