"""Fine-tuning: no protection against forgetting."""

from dataclasses import dataclass

from mlbench.lifelong.base import Method


@dataclass
class Finetune(Method):
    """Learns each task with the weights of the task before as its start: the lower bound, catastrophic forgetting."""
