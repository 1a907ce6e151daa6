"""Speed of mlbench against a bare PyTorch loop on the same tensors: one thread, one process, interleaved, medians.

    python scripts/benchmark.py [--rounds 9]

Needs mnist.npz in the data directory ($MLBENCH_DATA) and a machine that does nothing else. Prints one line a bar:
what was measured, the bar, and whether it was met; exit code 1 when one was missed.
"""

import argparse
import sys
import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F

from mlbench.core.config_groups import data_dir
from mlbench.data.datasets.torchvision import Vision
from mlbench.data.scenarios.streams import Permuted
from mlbench.data.stream import Stream
from mlbench.lifelong.base import Method
from mlbench.lifelong.bounds.finetune import Finetune
from mlbench.lifelong.regularisation.ewc import EWC
from mlbench.lifelong.regularisation.l2 import L2
from mlbench.lifelong.regularisation.mas import MAS
from mlbench.lifelong.regularisation.rwalk import RWalk
from mlbench.lifelong.regularisation.scp import SCP
from mlbench.lifelong.regularisation.si import SI
from mlbench.lifelong.replay.agem import AGEM
from mlbench.lifelong.replay.derpp import DERPP
from mlbench.lifelong.replay.er import ER
from mlbench.lifelong.replay.gem import GEM
from mlbench.models.mlp import MLP
from mlbench.training.compute import Compute
from mlbench.training.evaluation import accuracy
from mlbench.training.fit_state import Progress, Session
from mlbench.training.loop import fit
from mlbench.training.optimizer import Training

CPU = torch.device("cpu")
SHAPE = (1, 28, 28)


def stream(train_per_task: int | None) -> Stream:
    """The 20 tasks of the GEM protocol."""
    data = Permuted(
        source=Vision(name="mnist", normalise="unit"),
        tasks=20,
        scenario="domain",
        train_per_task=train_per_task,
        test_per_task=None,
        task_order="fixed",
        order_seed=None,
    )
    return data.stream(data_dir(), torch.Generator().manual_seed(0)).to(CPU)


def training(batch_size: int, lr: float) -> Training:
    """One epoch of plain SGD."""
    return Training(1, batch_size, "sgd", lr, 0.0, 0.0, "constant", "none", 0.0, 0)


def network(hidden: list[int]) -> MLP:
    """The same network every time."""
    torch.manual_seed(0)
    return MLP(SHAPE, 10, hidden)


def bare(x: torch.Tensor, y: torch.Tensor, hidden: list[int], settings: Training) -> float:
    """Samples a second of the loop anyone would write, on floats that lie ready."""
    net = network(hidden)
    optimizer = torch.optim.SGD(net.parameters(), lr=settings.lr)
    began = time.perf_counter()
    for index in torch.randperm(len(x)).split(settings.batch_size):
        optimizer.zero_grad()
        F.cross_entropy(net(x[index]), y[index]).backward()
        optimizer.step()
    return len(x) / (time.perf_counter() - began)


def begun(method: Method, tasks: Stream, settings: Training) -> Method:
    """A method that has met its stream."""
    method.begin(tasks, settings, Compute(), torch.Generator().manual_seed(0))
    return method


def speed(method: Method, tasks: Stream, task: int, hidden: list[int], settings: Training) -> float:
    """Samples a second of mlbench's loop on one task."""
    progress = Progress()
    split = tasks.tasks[task].train
    fit(network(hidden), split, method, settings, Compute(), torch.Generator().manual_seed(0), Session(progress))
    return progress.samples / progress.seconds


METHODS: dict[str, tuple[Callable[[], Method], float]] = {  # how each is made, and its bar against the bare loop
    "ewc": (lambda: EWC(1.0, "proximal", "empirical", 1000, 1.0), 0.75),
    "l2": (lambda: L2(0.1, "proximal"), 0.6),
    "si": (lambda: SI(1.0, "proximal", 0.1), 0.6),
    "mas": (lambda: MAS(0.1, "proximal", 1000), 0.6),
    "scp": (lambda: SCP(1.0, "proximal", 1000, 100), 0.6),
    "rwalk": (lambda: RWalk(0.1, "proximal", 0.1, 10, 1e-3), 0.6),
    "er": (lambda: ER(replay_batch=None, memory_total=5120, policy="reservoir"), 0.4),
    "derpp": (lambda: DERPP(replay_batch=None, memory_total=5120, policy="reservoir", alpha=0.5, beta=0.5), 0.25),
    "agem": (lambda: AGEM(replay_batch=64, memory_total=5120), 0.3),
}


def learned(method: Method, tasks: Stream, count: int, settings: Training) -> float:
    """Let `method` learn `count` tasks; the samples a second of its consolidation."""
    net, seconds = network([100, 100]), 0.0
    for task in tasks.tasks[:count]:
        net = method.start_task(net, task)
        theta = fit(net, task.train, method, settings, Compute(), torch.Generator().manual_seed(0))
        began = time.perf_counter()
        method.end_task(net, theta, task)
        seconds += time.perf_counter() - began
    return count * 1000 / seconds


def gem_seconds(tasks: Stream, settings: Training) -> float:
    """Training seconds of GEM over the whole protocol."""
    method = begun(GEM(5120, 0.5), tasks, settings)
    net, total = network([100, 100]), 0.0
    for task in tasks.tasks:
        progress = Progress()
        theta = fit(net, task.train, method, settings, Compute(), torch.Generator().manual_seed(0), Session(progress))
        method.end_task(net, theta, task)
        total += progress.seconds
    return total


def row_seconds(tasks: Stream, net: MLP) -> float:
    """One row of R: 20 tasks, 10,000 pictures each, as the runner measures it."""
    method = begun(Finetune(), tasks, training(10, 0.1))
    began = time.perf_counter()
    for task in tasks.tasks:
        accuracy(net, task.test, method.logits)
    return time.perf_counter() - began


@torch.inference_mode()
def forward_seconds(x: torch.Tensor, net: MLP, size: int) -> float:
    """The forward passes alone of one row, on floats that lie ready, `size` pictures at once."""
    began = time.perf_counter()
    for _ in range(20):
        for chunk in x.split(size):
            net(chunk)
    return time.perf_counter() - began


def main(rounds: int) -> int:
    """Measure everything; the exit code."""
    torch.set_num_threads(1)
    short, long = stream(1000), stream(None)
    small, large = training(10, 0.03), training(128, 0.1)
    bars = []

    def bar(name: str, value: float, limit: float, at_least: bool = True) -> None:
        met = value >= limit if at_least else value <= limit
        bars.append(met)
        print(
            f"{'met   ' if met else 'MISSED'} {name}: {value:,.2f} (bar {'>=' if at_least else '<='} {limit:,})",
            flush=True,
        )

    for hidden, settings, tasks in (([100, 100], small, short), ([400, 400], large, long)):
        split = tasks.tasks[0].train
        x, y, _ = split.batch(torch.arange(min(len(split), 20_000)))
        method, loops = begun(Finetune(), tasks, settings), []
        for _ in range(rounds):
            loops.append((bare(x, y, hidden, settings), speed(method, tasks, 0, hidden, settings)))
        plain, mine = (median(column) for column in zip(*loops, strict=True))
        print(f"       batch {settings.batch_size}, MLP {hidden}: bare {plain:,.0f}, mlbench {mine:,.0f} samples/s")
        bar(f"fine-tuning / bare loop, batch {settings.batch_size}", median(b / a for a, b in loops), 0.85)

    split = short.tasks[0].train
    x, y, _ = split.batch(torch.arange(len(split)))
    for name, (made, limit) in METHODS.items():
        early, late = (begun(made(), short, small) for _ in range(2))
        learned(early, short, 1, small)
        consolidation = learned(late, short, 19, small)
        loops = []
        for _ in range(3 * rounds):
            plain = bare(x, y, [100, 100], small)
            loops.append((plain, *(speed(method, short, 1, [100, 100], small) for method in (early, late))))
        bar(f"{name} at task 20 / bare loop", median(last / plain for plain, _, last in loops), limit)
        bar(f"{name} at task 20 / {name} at task 2", median(last / second for _, second, last in loops), 0.95)
        if name == "ewc":
            bar("EWC consolidation, samples/s", consolidation, 10_000)

    net = network([100, 100]).eval()
    x = short.tasks[0].test.batch(torch.arange(10_000)).x
    rows = []
    for _ in range(rounds):
        rows.append((row_seconds(short, net), forward_seconds(x, net, 10_000), forward_seconds(x, net, 1000)))
    row, at_once, chunked = (21 * median(column) for column in zip(*rows, strict=True))
    print(f"       R, 21 x 20 x 10,000 pictures: {row:.1f} s; forward passes alone, on floats that lie ready:")
    print(f"       {at_once:.1f} s with 10,000 at once, {chunked:.1f} s with 1,000 at once")
    bar("R / forward passes alone, 10,000 at once", median(a / b for a, b, _ in rows), 1.3, at_least=False)
    bar("R / forward passes alone, 1,000 at once", median(a / c for a, _, c in rows), 1.3, at_least=False)
    bar("GEM, training seconds of the whole protocol", gem_seconds(short, training(10, 0.1)), 45, at_least=False)
    return 0 if all(bars) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    sys.exit(main(parser.parse_args().rounds))
