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

from mlbench.compress.measurement.layer_costs import layer_seconds, own_parameters, size
from mlbench.data.modality import PAD
from mlbench.data.normalisation import AsIds
from mlbench.runs.checkpoint import load
from mlbench.training.compute import Compute
from mlbench.training.mac_counter import MacCounter

ROUNDS = 11  # of latency measurements; every round times every network once
ROUND_SECONDS = 0.15  # approximate time for one network in a round
BATCHES = (8, 300)  # fewest and most different batches in a round: early exits need easy and hard examples
BATCH_SIZE = 500  # examples evaluated at a time


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
        self.passes: dict[str, tuple[Tensor, MacCounter]] = {}

    def network(self, path: str) -> nn.Sequential:
        """The network of an artefact as a pair of modules, preprocessing and network; loaded once."""
        if path not in self.networks:
            self.networks[path] = load(path, *self.config_dirs[:1]).to(self.compute.device)
        return self.networks[path]

    def batches(self, path: str) -> list[Tensor]:
        """The places of all test examples, some at a time: texts with others of their length, so that none is padded.

        A text then costs what it costs alone, whatever texts the test set has beside it.
        """
        if not isinstance(self.network(path)[0], AsIds):
            return list(torch.arange(len(self.labels), device=self.labels.device).split(BATCH_SIZE))
        lengths = self.lengths
        alike = [(lengths == length).nonzero().flatten() for length in lengths.unique()]
        return [places for group in alike for places in group.split(BATCH_SIZE)]

    @property
    def lengths(self) -> Tensor:
        """The tokens of each test text, int64 [N]."""
        return (self.pictures != PAD).sum(1)

    @torch.no_grad()
    def test_pass(self, path: str) -> tuple[Tensor, MacCounter]:
        """Run a network on the test set, once; whether each example is classified correctly, [N], and the counter."""
        if path not in self.passes:
            net, correct = self.network(path), torch.empty_like(self.labels, dtype=torch.bool)
            with MacCounter(net[1]) as counter:
                for places in self.batches(path):
                    correct[places] = net(self.pictures[places]).argmax(1) == self.labels[places]
            self.passes[path] = correct, counter
        return self.passes[path]

    def point(self, path: str) -> dict[str, Any]:
        """Measure the accuracy, the size and the multiply-adds of a network.

        Args:
            path: The artefact.

        Returns:
            Columns of points.csv (units in points.py); `entered`, the number of examples that each block of a network
            with early exits ran on; `notes`, lines on what the multiply-adds stand for or lack; and `correct`, one bit
            for each test example, packed and in hexadecimal.
        """
        net = self.network(path)
        correct, counter = self.test_pass(path)
        parameters = [parameter for own in own_parameters(net[1]).values() for parameter in own]
        notes = counter.gaps()
        if isinstance(net[0], AsIds):
            mean = self.lengths.double().mean().item()
            notes.insert(0, f"multiply-adds are those of a text without padding, of {mean:.1f} tokens on average")
        counts: dict[str, float | None] = {
            "parameters": sum(p.numel() for p in parameters),
            "nonzero": sum(int(torch.count_nonzero(p)) for p in parameters),
            "macs": counter.total / len(correct),
        }
        if getattr(net[1], "fixed", False):
            counts = dict.fromkeys(counts)
            notes = ["an exported network tells nothing of its weights and multiply-adds, so these are left out"]
        return {
            "accuracy": correct.double().mean().item(),
            "bytes": Path(path).stat().st_size,
            **counts,
            "entered": getattr(net[1], "entered", []),
            "notes": notes,
            "correct": np.packbits(correct.cpu().numpy()).tobytes().hex(),
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
        """Measure every layer of a network that has parameters of its own, or multiplies and adds by itself.

        Args:
            path: The artefact.

        Returns:
            One row of layers.csv for each layer (units in points.py), without the column `step`.
        """
        preprocessing, net = self.network(path)
        macs = self.test_pass(path)[1].by_layer
        owned = own_parameters(net)
        shown = {name: layer for name, layer in net.named_modules() if name in owned or macs[name]}
        batch = preprocessing(self.pictures[: self.latency_batch])
        times = layer_seconds(net, list(shown), batch, 4 * ROUNDS, self.now)
        return [
            {
                "layer": name or type(net).__name__,
                "kind": type(layer).__name__,
                **size(owned.get(name, [])),
                "macs": macs[name] / len(self.labels),
                "latency_ms": 1000 * float(np.median(times[name])),
            }
            for name, layer in shown.items()
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
