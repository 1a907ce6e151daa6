"""Speed of maps against their forward passes alone and against captum: one thread, interleaved, medians.

    python scripts/benchmark_maps.py [--rounds 5]

Eight pictures of CIFAR's size, a small convolutional network and a ResNet-18. Needs no data, but a machine that does
nothing else. Prints one line a bar; exit code 1 when one was missed.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median

import captum.attr
import torch
from torch import Tensor, nn

from mlbench.explain.attribution.occlusion import AT_ONCE as COVERED
from mlbench.explain.attribution.occlusion import Occlusion, squares
from mlbench.explain.attribution.smoothgrad import SmoothGrad
from mlbench.models.cnn import CNN
from mlbench.models.resnet import ResNet18

SHAPE, PICTURES = (3, 32, 32), 8
EVALUATIONS = (4, 16, 64, 196)  # captum's perturbations_per_eval
BATCHES = (2, 8, 16, 25)  # captum's nt_samples_batch_size
COPIES = 50
SHOWN = {"samples": 64, "images": None, "target": None}  # what a run explains; not used here
LIMITS = {"occlusion": 2.0, "SmoothGrad": 1.5}  # how many times as fast as captum's default we shall be
WIDTH = 20  # of the ResNet: the GEM paper's, a tenth of the usual one's operations


def seconds(do: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def interleaved(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contestant in each round, after one round that does not count."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, do in contestants.items():
            taken = seconds(do)
            if number:
                found[name].append(taken)
    return found


def occlusions(net: nn.Module, x: Tensor, target: Tensor) -> dict[str, Callable[[], object]]:
    """The same map by us and by captum, and the forward passes that it is made of."""
    method, theirs = Occlusion(patch=5, stride=2, segments=None, **SHOWN), captum.attr.Occlusion(net)
    count = len(x) * len(squares(*SHAPE[1:], 5, 2)) + len(x)
    at_once = COVERED["cpu"]
    full, rest = divmod(count, at_once)
    batch = x.repeat(at_once // len(x), 1, 1, 1)

    @torch.no_grad()
    def forward() -> None:
        for size in [at_once] * full + [rest] * bool(rest):
            net(batch[:size])

    def captums(at_once: int) -> Callable[[], object]:
        settings = {"sliding_window_shapes": (3, 5, 5), "strides": (3, 2, 2), "perturbations_per_eval": at_once}
        return torch.no_grad()(lambda: theirs.attribute(x, target=target, **settings))

    return {
        "mlbench": lambda: method.maps(net, x, target),
        "forward": forward,
        "default": captums(1),
        **{f"captum {size} at once": captums(size) for size in EVALUATIONS},
    }


def smoothgrads(net: nn.Module, x: Tensor, target: Tensor) -> dict[str, Callable[[], object]]:
    """The same map by us and by captum; its default takes all copies at once."""
    method = SmoothGrad(copies=COPIES, noise=0.2, moment="mean", **SHOWN)
    theirs = captum.attr.NoiseTunnel(captum.attr.Saliency(net))
    method.generator = torch.Generator().manual_seed(0)

    def captums(at_once: int | None) -> Callable[[], object]:
        settings = {"nt_type": "smoothgrad", "nt_samples": COPIES, "nt_samples_batch_size": at_once, "stdevs": 0.2}
        return lambda: theirs.attribute(x, target=target, abs=False, **settings)

    return {
        "mlbench": lambda: method.maps(net, x, target),
        "default": captums(None),
        **{f"captum {size} at once": captums(size) for size in BATCHES},
    }


def contests() -> Iterator[tuple[str, str, dict[str, Callable[[], object]]]]:
    """(network, method, who makes the same maps) for each comparison."""
    torch.manual_seed(0)
    for title, net in (("CNN", CNN(SHAPE, 10, [16, 32])), ("ResNet-18", ResNet18(SHAPE, 10, WIDTH))):
        net.eval().requires_grad_(False)
        x, target = torch.rand(PICTURES, *SHAPE), torch.arange(PICTURES)  # range 1: noise means the same to both
        for name, made in (("occlusion", occlusions), ("SmoothGrad", smoothgrads)):
            yield title, name, made(net, x, target)


def main(rounds: int) -> int:
    """Measure everything; the exit code."""
    torch.set_num_threads(1)
    bars = []

    def bar(name: str, value: float, limit: float, at_least: bool) -> None:
        bars.append(value >= limit if at_least else value <= limit)
        sign = ">=" if at_least else "<="
        print(f"{'met   ' if bars[-1] else 'MISSED'} {name}: {value:.2f} (bar {sign} {limit})", flush=True)

    for title, name, contestants in contests():
        taken = interleaved(contestants, rounds)
        mine = taken.pop("mlbench")
        shown = ", ".join(f"{key} {median(values):.2f}" for key, values in taken.items())
        print(f"       {title}, {name}: mlbench {median(mine):.2f} s; {shown}")
        if "forward" in taken:
            alone = taken.pop("forward")
            share = median(a / b for a, b in zip(mine, alone, strict=True))
            bar(f"{title}, {name} / its forward passes", share, 1.15, at_least=False)
        ratios = {key: median(b / a for a, b in zip(mine, values, strict=True)) for key, values in taken.items()}
        bar(f"{title}, captum's default / {name}", ratios.pop("default"), LIMITS[name], at_least=True)
        best = min(ratios, key=ratios.get)
        bar(f"{title}, {best} (its best) / {name}", ratios[best], 1.0, at_least=True)
    return 0 if all(bars) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    sys.exit(main(parser.parse_args().rounds))
