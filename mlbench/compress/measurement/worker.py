"""The worker process: it measures networks that it knows only from their artefacts.

    python -m mlbench.compress.measurement.worker

It reads requests from standard input and writes results to standard output, one line of JSON each. A run starts it once
(client.py). Artefacts are loaded the way a user loads them, with `mlbench.load`.
"""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula, sdpa_flop_count

from mlbench.compress.measurement.layer_costs import dense, layer_size, per_layer
from mlbench.runs.checkpoint import load
from mlbench.training.compute import Compute

ROUNDS = 11  # of latency measurements; every round times every network once
ROUND_SECONDS = 0.15  # approximate time for one network in a round
BATCHES = (8, 300)  # fewest and most different batches in a round: early exits need easy and hard examples
BATCH_SIZE = 500  # examples evaluated at a time


@register_flop_formula(torch.ops.aten._int_mm)
def int_mm_flops(a_shape: list[int], b_shape: list[int], *_: object, **__: object) -> int:
    """Operations of a product of int8 matrices [m, k] and [k, n]: as many as for floats."""
    return 2 * a_shape[0] * a_shape[1] * b_shape[1]


@register_flop_formula(torch.ops.aten._scaled_dot_product_flash_attention_for_cpu)
def attention_flops(query: list[int], key: list[int], value: list[int], *_: object, **__: object) -> int:
    """Operations of attention on a CPU: as many as on a GPU, for which torch has the formula."""
    return sdpa_flop_count(query, key, value)


class Reader:
    """Networks loaded from artefacts, and the test examples that they are measured with.

    Args:
        test: Path of a file with the raw `pictures` [N, ...] and the `labels` [N] of the test set.
        device: Where to compute, as torch names it.
        threads: Number of CPU threads.
        latency_batch: Examples in a batch whose latency is measured.
        config_dirs: Folders with the modules of the user's own models.
    """

    def __init__(self, test: str, device: str, threads: int, latency_batch: int, config_dirs: list[str]):
        torch.set_num_threads(threads)
        content = torch.load(test, weights_only=True)
        self.compute = Compute(torch.device(device))
        self.pictures, self.labels = (content[name].to(device) for name in ("pictures", "labels"))
        self.latency_batch, self.config_dirs = latency_batch, config_dirs
        self.networks: dict[str, nn.Sequential] = {}

    def network(self, path: str) -> nn.Sequential:
        """The network of an artefact as a pair of modules, preprocessing and network; loaded once."""
        if path not in self.networks:
            self.networks[path] = load(path, *self.config_dirs[:1]).to(self.compute.device)
        return self.networks[path]

    @torch.no_grad()
    def point(self, path: str) -> dict[str, Any]:
        """Measure the accuracy, the size and the multiply-adds of a network.

        Args:
            path: The artefact.

        Returns:
            Columns of points.csv (units in points.py); `entered`, the number of examples that each block of a network
            with early exits ran on; and `correct`, one bit for each test example, packed and in hexadecimal.
        """
        net, correct = self.network(path), []
        with FlopCounterMode(display=False) as counter:
            for pictures, labels in zip(self.pictures.split(BATCH_SIZE), self.labels.split(BATCH_SIZE), strict=True):
                correct.append(net(pictures).argmax(1) == labels)
        all_correct = torch.cat(correct)
        parameters = list(net.parameters())
        return {
            "accuracy": all_correct.double().mean().item(),
            "parameters": sum(p.numel() for p in parameters),
            "nonzero": sum(int(torch.count_nonzero(dense(p))) for p in parameters),
            "bytes": Path(path).stat().st_size,
            "macs": counter.get_total_flops() / 2 / len(all_correct),  # torch counts two operations
            "entered": getattr(net[1], "entered", []),
            "correct": np.packbits(all_correct.cpu().numpy()).tobytes().hex(),
        }

    @torch.inference_mode()
    def latencies(self, paths: list[str]) -> list[list[float]]:
        """Measure the latency of a batch, the networks taking turns so that a busy machine affects them alike.

        Args:
            paths: The artefacts.

        Returns:
            Milliseconds of a batch, [networks, rounds].
        """
        inputs = [self.network(path)[0](self.pictures[: BATCHES[1] * self.latency_batch]) for path in paths]
        batches = [list(x.split(self.latency_batch)) for x in inputs]
        nets = [self.network(path)[1] for path in paths]
        estimates = [self.seconds(net, own[:3], 3) for net, own in zip(nets, batches, strict=True)]
        count = min(len(batches[0]), max(BATCHES[0], min(BATCHES[1], math.ceil(ROUND_SECONDS / max(estimates)))))
        rounds = [
            [1000 * self.seconds(net, own[:count]) for net, own in zip(nets, batches, strict=True)]
            for _ in range(ROUNDS + 1)
        ]
        return np.array(rounds[1:]).T.tolist()  # the first one warms up

    def seconds(self, net: nn.Module, batches: list[Tensor], times: int = 1) -> float:
        """The mean time of a forward pass in seconds, over `batches` and so many repetitions."""
        start = self.now()
        for _ in range(times):
            for batch in batches:
                net(batch)
        return (self.now() - start) / (times * len(batches))

    @torch.inference_mode()
    def layers(self, path: str) -> list[dict[str, Any]]:
        """Measure every layer of a network that has parameters of its own.

        Args:
            path: The artefact.

        Returns:
            One row of layers.csv for each layer (units in points.py), without the column `step`.
        """
        preprocessing, net = self.network(path)
        owners = {p: m for p, m in net.named_modules() if next(m.parameters(recurse=False), None) is not None}
        batch = preprocessing(self.pictures[: self.latency_batch])
        with FlopCounterMode(display=False) as counter:
            flops = per_layer(net, list(owners), batch, 1, counter.get_total_flops)
        times = per_layer(net, list(owners), batch, 4 * ROUNDS, self.now)
        return [
            {
                "layer": name or type(net).__name__,
                **layer_size(layer),
                "macs": sum(flops[name]) / 2 / len(batch),
                "latency_ms": 1000 * float(np.median(times[name])) if times[name] else 0.0,
            }
            for name, layer in owners.items()
        ]

    def now(self) -> float:
        """The time in seconds, read when the device has finished its work."""
        self.compute.wait()
        return time.perf_counter()


def main() -> None:
    """Answer requests {"do": method of `Reader`, argument: value, ...} until the input ends.

    The first line holds the arguments of `Reader`. Results are {"answer": value}, failures {"error": message}.
    """
    results = sys.stdout
    sys.stdout = sys.stderr  # what libraries print must not mix with the results
    reader = Reader(**json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            result = {"answer": getattr(reader, request.pop("do"))(**request)}
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), file=results, flush=True)


if __name__ == "__main__":
    main()
