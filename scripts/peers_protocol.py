"""What both sides of compare_peers.py are given, tasks, network and settings, and how they are asked."""

import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np
import torch
from torch import nn

from mlbench.core.config_groups import data_dir
from mlbench.data.datasets.digits import Digits
from mlbench.data.datasets.torchvision import Vision
from mlbench.data.scenarios.streams import Permuted
from mlbench.data.stream import Stream
from mlbench.models.mlp import MLP
from mlbench.training.evaluation import accuracy

BATCH, HIDDEN = 10, [100, 100]
MEMORIES = 256  # examples a task, for those who store any
REFERENCE = 64  # examples of A-GEM's reference gradient
MARGIN = 0.5
STRENGTH = 1.0
LR = {"naive": 0.03}
OTHER_LR = 0.1


@dataclass(frozen=True)
class Protocol:
    """The GEM paper's permutations: `tasks` of `examples` each, one pass."""

    data: Literal["mnist", "digits"]
    tasks: int
    examples: int

    def stream(self, seed: int) -> Stream:
        """The same tasks for both sides."""
        source = Digits(normalise="unit") if self.data == "digits" else Vision(name="mnist", normalise="unit")
        cut = {"train_per_task": self.examples, "test_per_task": None, "task_order": "fixed", "order_seed": None}
        permuted = Permuted(source=source, tasks=self.tasks, scenario="domain", **cut)
        return permuted.stream(data_dir(), torch.Generator().manual_seed(seed)).to(torch.device("cpu"))


@dataclass(frozen=True)
class Lesson:
    """All that a side needs to learn the stream with a method."""

    method: str
    stream: Stream
    net: nn.Module
    lr: float
    seed: int


Prepare = Callable[[Lesson], Callable[[], int]]  # makes what learns `net` in place and tells its steps; not timed


def serve(prepare: Prepare) -> None:
    """Answer requests on standard input, JSON lines, until it ends; what libraries print goes to standard error."""
    answers, sys.stdout = sys.stdout, sys.stderr
    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)
        answer = learned(prepare, request["method"], request["seed"], Protocol(**request["protocol"]))
        print(json.dumps(answer), file=answers, flush=True)


def learned(prepare: Prepare, method: str, seed: int, protocol: Protocol) -> dict[str, float]:
    """Seconds and steps of the training, consolidation included, and the accuracy over all tasks at its end."""
    stream = protocol.stream(seed)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    net = MLP(stream.input_shape, stream.outputs, HIDDEN)
    learn = prepare(Lesson(method, stream, net, LR.get(method, OTHER_LR), seed))
    began = time.perf_counter()
    steps = learn()
    seconds = time.perf_counter() - began
    score = fmean(accuracy(net, task.test, lambda net, batch: net(batch.x)) for task in stream.tasks)
    samples = sum(len(task.train) for task in stream.tasks)
    return {"seconds": seconds, "samples": samples, "steps": steps, "accuracy": score}
