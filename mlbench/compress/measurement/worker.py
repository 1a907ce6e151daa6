"""The process that measures: it knows a network from its file alone.

    python -m mlbench.compress.measurement.worker    requests on standard input, answers on standard output, in JSON

It is started once a run and ends with it. A file is read as a user would read it, by `mlbench.load`.
"""

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula, sdpa_flop_count

from mlbench.runs.checkpoint import load
from mlbench.runs.codec.encodings import encode
from mlbench.training.compute import Compute
from mlbench.training.module_hooks import hooked

ROUNDS = 11  # of latency; every round times every network once
ROUND_SECONDS = 0.15  # about what one network takes in a round
BATCHES = (8, 300)  # fewest and most different batches in a round: an early exit needs easy and hard pictures
AT_ONCE = 500  # examples evaluated at once


@register_flop_formula(torch.ops.aten._int_mm)
def int_mm_flops(a_shape: list[int], b_shape: list[int], *_: object, **__: object) -> int:
    """A product of int8 matrices [m, k] and [k, n] takes as many multiply-adds as any other."""
    return 2 * a_shape[0] * a_shape[1] * b_shape[1]


@register_flop_formula(torch.ops.aten._scaled_dot_product_flash_attention_for_cpu)
def attention_flops(query: list[int], key: list[int], value: list[int], *_: object, **__: object) -> int:
    """Attention as a CPU computes it takes as many as on a GPU, whose kernels torch knows."""
    return sdpa_flop_count(query, key, value)


class Reader:
    """Networks read from files, and the test pictures they are measured with."""

    def __init__(self, test: str, device: str, threads: int, latency_batch: int, config_dirs: list[str]):
        torch.set_num_threads(threads)
        content = torch.load(test, weights_only=True)
        self.compute = Compute(torch.device(device))
        self.pictures, self.labels = (content[name].to(device) for name in ("pictures", "labels"))
        self.latency_batch, self.config_dirs = latency_batch, config_dirs
        self.read: dict[str, nn.Sequential] = {}

    def network(self, path: str) -> nn.Sequential:
        """The network of a file, preprocessing in front."""
        if path not in self.read:
            self.read[path] = load(path, *self.config_dirs[:1]).to(self.compute.device)
        return self.read[path]

    @torch.no_grad()
    def point(self, path: str) -> dict[str, Any]:
        """Accuracy, size and multiply-adds for an example, and which answers are right."""
        net, correct = self.network(path), []
        with FlopCounterMode(display=False) as counter:
            for pictures, labels in zip(self.pictures.split(AT_ONCE), self.labels.split(AT_ONCE), strict=True):
                correct.append(net(pictures).argmax(1) == labels)
        right = torch.cat(correct)
        parameters = list(net.parameters())
        return {
            "accuracy": right.double().mean().item(),
            "parameters": sum(p.numel() for p in parameters),
            "nonzero": sum(int(torch.count_nonzero(dense(p))) for p in parameters),
            "bytes": Path(path).stat().st_size,
            "macs": counter.get_total_flops() / 2 / len(right),  # torch counts a multiply-add as two operations
            "entered": getattr(net[1], "entered", []),  # examples that began each part of a network that can be left
            "correct": np.packbits(right.cpu().numpy()).tobytes().hex(),
        }

    @torch.inference_mode()
    def latencies(self, paths: list[str]) -> list[list[float]]:
        """For each network milliseconds a batch, one value a round, the networks taking turns."""
        inputs = [self.network(path)[0](self.pictures[: BATCHES[1] * self.latency_batch]) for path in paths]
        batches = [list(x.split(self.latency_batch)) for x in inputs]
        nets = [self.network(path)[1] for path in paths]
        once = [self.seconds(net, given[:3], 3) for net, given in zip(nets, batches, strict=True)]
        count = min(len(batches[0]), max(BATCHES[0], min(BATCHES[1], math.ceil(ROUND_SECONDS / max(once)))))
        rounds = [
            [1000 * self.seconds(net, given[:count]) for net, given in zip(nets, batches, strict=True)]
            for _ in range(ROUNDS + 1)
        ]
        return np.array(rounds[1:]).T.tolist()  # the first one warms up

    def seconds(self, net: nn.Module, batches: list[Tensor], times: int = 1) -> float:
        """The mean time of a forward pass over `batches`."""
        began = self.now()
        for _ in range(times):
            for batch in batches:
                net(batch)
        return (self.now() - began) / (times * len(batches))

    @torch.inference_mode()
    def layers(self, path: str) -> list[dict[str, Any]]:
        """For each layer with weights: size, multiply-adds for an example, and milliseconds of a batch (median)."""
        net = self.network(path)
        inner = net[1]
        owning = {p: m for p, m in inner.named_modules() if next(m.parameters(recurse=False), None) is not None}
        batch = net[0](self.pictures[: self.latency_batch])
        flops: dict[str, list[float]] = {name: [] for name in owning}
        times: dict[str, list[float]] = {name: [] for name in owning}
        with FlopCounterMode(display=False) as counter:
            watched(inner, batch, 1, counter.get_total_flops, flops)
        watched(inner, batch, 4 * ROUNDS, self.now, times)
        rows = []
        for name, layer in owning.items():
            parameters = [dense(p) for p in layer.parameters(recurse=False)]
            rows.append(
                {
                    "layer": name or type(inner).__name__,
                    "kind": type(layer).__name__,
                    "parameters": sum(p.numel() for p in parameters),
                    "nonzero": sum(int(torch.count_nonzero(p)) for p in parameters),
                    "bytes": sum(len(encode(p.cpu().numpy(), entropy=False)) for p in parameters),
                    "macs": sum(flops[name]) / 2 / len(batch),
                    "latency_ms": 1000 * float(np.median(times[name])) if times[name] else 0.0,
                }
            )
        return rows

    def now(self) -> float:
        """Seconds, when the device has done all."""
        self.compute.wait()
        return time.perf_counter()


def watched(
    net: nn.Module, batch: Tensor, times: int, clock: Callable[[], float], passed: dict[str, list[float]]
) -> None:
    """Run `net` so many times and note for each layer in `passed` how far `clock` went during each of its calls.

    A layer counts wherever it is called from: containers that hold it need not be called themselves.
    """
    hooks = []
    for name, found in passed.items():
        began: list[float] = []
        before = lambda *_, began=began: began.append(clock())  # noqa: E731
        after = lambda *_, began=began, found=found: found.append(clock() - began.pop())  # noqa: E731
        layer = net.get_submodule(name)
        hooks += [layer.register_forward_pre_hook(before), layer.register_forward_hook(after)]
    with hooked(hooks):
        for _ in range(times):
            net(batch)


def dense(parameter: Tensor) -> Tensor:
    """An ordinary tensor of what may be a quantised one."""
    return parameter.dequantize() if type(parameter) not in (Tensor, nn.Parameter) else parameter.detach()


def main() -> None:
    """Answer requests {"do": name, ...} until the input ends."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # what libraries print is not an answer
    reader = Reader(**json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"answer": getattr(reader, request.pop("do"))(**request)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
