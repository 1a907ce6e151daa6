"""Avalanche's side of compare_peers.py, which starts it: its strategies at their fastest.

No evaluator and no logger, no worker processes, pictures permuted and normalised beforehand, no task labels (nobody
needs them here, and they cost 5 %), the plain SGD (the fused one is slower on a network of this size).
"""

import warnings
from collections.abc import Callable

import torch
from avalanche.benchmarks import benchmark_from_datasets
from avalanche.benchmarks.utils import as_classification_dataset
from avalanche.training.supervised import AGEM, EWC, GEM, Naive, Replay
from avalanche.training.templates import SupervisedTemplate
from peers_protocol import BATCH, MARGIN, MEMORIES, REFERENCE, STRENGTH, Lesson, serve
from torch import nn
from torch.utils.data import TensorDataset

from mlbench.data.split import Split

LAMBDA = BATCH * STRENGTH  # its Fisher is of the mean gradient of a batch, about so many times smaller; 30 diverges
STRATEGIES: dict[str, tuple[type[SupervisedTemplate], Callable[[int], dict[str, object]]]] = {
    "naive": (Naive, lambda _: {}),
    "EWC": (EWC, lambda _: {"ewc_lambda": LAMBDA}),
    "EWC, one penalty": (EWC, lambda _: {"ewc_lambda": LAMBDA, "mode": "online", "decay_factor": 1.0}),
    "GEM": (GEM, lambda _: {"patterns_per_exp": MEMORIES, "memory_strength": MARGIN}),
    "A-GEM": (AGEM, lambda _: {"patterns_per_exp": MEMORIES, "sample_size": REFERENCE}),
    "replay": (Replay, lambda tasks: {"mem_size": MEMORIES * tasks}),
}


def dataset(split: Split) -> TensorDataset:
    """The pictures of a split as floats [N, C, H, W] that lie ready."""
    x, y, _ = split.batch(torch.arange(len(split)))
    made = TensorDataset(x, y)
    made.targets = y.tolist()
    return as_classification_dataset(made)


def prepare(lesson: Lesson) -> Callable[[], int]:
    """See `Prepare`."""
    tasks = lesson.stream.tasks
    experiences = benchmark_from_datasets(train=[dataset(task.train) for task in tasks]).train_stream
    kind, settings = STRATEGIES[lesson.method]
    strategy = kind(
        model=lesson.net,
        optimizer=torch.optim.SGD(lesson.net.parameters(), lr=lesson.lr),
        criterion=nn.CrossEntropyLoss(),
        train_mb_size=BATCH,
        train_epochs=1,
        evaluator=None,
        **settings(len(tasks)),
    )

    def learn() -> int:
        for experience in experiences:
            strategy.train(experience, num_workers=0)
        return strategy.clock.train_iterations

    return learn


if __name__ == "__main__":
    warnings.showwarning = lambda *_: None  # about its own parts; no filter holds, it sets its own at each warning
    serve(prepare)
