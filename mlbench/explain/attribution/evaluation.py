"""Scores for a method's maps, beside those of controls."""

import math
import time
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from mlbench.explain.attribution import metrics
from mlbench.explain.attribution.controls import controls
from mlbench.explain.attribution.peak_memory import peak_bytes
from mlbench.explain.attribution.randomisation import FAILS_FROM, cascade
from mlbench.explain.base import Attribution, Maps
from mlbench.runs.results import Chart, Findings, Panel, Row
from mlbench.training.compute import Compute

MAPS_AT_ONCE = 32  # pictures
COSTLY = 16  # examples for the scores that need many maps of each
SHOWN = 8  # examples in the figure of maps
OF_CLASSES = 4  # in the figure of maps for every class
CLASSES_UP_TO = 10  # columns that figure has room for


@dataclass
class Examples:
    """What is explained."""

    x: Tensor  # [B, C, H, W] normalised
    pictures: np.ndarray  # [B, C, H, W] uint8
    target: Tensor  # [B] the class explained
    predicted: Tensor  # [B]
    labels: Tensor | None  # [B]
    truth: Tensor | None  # [B, H, W] bool, where the answer stands
    classes: list[str]

    def title(self, number: int) -> str:
        """What is explained of an example, and where that differs from the answer and the label."""
        told = [f"explained: {self.classes[self.target[number]]}"]
        if self.predicted[number] != self.target[number]:
            told.append(f"answered: {self.classes[self.predicted[number]]}")
        if self.labels is not None and self.labels[number] != self.target[number]:
            told.append(f"label: {self.classes[self.labels[number]]}")
        return ", ".join(told)


def judge(
    method: Attribution, net: nn.Module, examples: Examples, name: str, generator: torch.Generator, compute: Compute
) -> Findings:
    """Every score of `method` and of each control, the figures, and the maps themselves."""
    of = {name: method.maps, **controls(method.maps, len(examples.classes), generator)}
    findings, maps = Findings("maps", metrics.HEADLINES), {}
    curves, depths, table = [], [], []
    for title, each in of.items():
        compute.wait()
        began = time.perf_counter()
        maps[title] = in_parts(each, net, examples.x, examples.target)
        compute.wait()
        seconds = (time.perf_counter() - began) / len(examples.x)
        few = (net, examples.x[:MAPS_AT_ONCE], examples.target[:MAPS_AT_ONCE])
        peak = peak_bytes(partial(each, *few), examples.x.device)
        found, own_curves = scored(net, examples, maps[title], each, generator)
        found |= {"seconds_per_image": seconds, "peak_bytes": float(peak)}
        depth = cascade(net, examples.x[:COSTLY], examples.target[:COSTLY], each, generator.initial_seed() % 2**32)
        found |= {f"randomisation_{key}": depth[0][key] for key in ("rho", "abs_rho", "ssim") if key in depth[0]}
        if title == name and (start := method.origin(examples.x)) is not None:
            found["completeness_error"] = metrics.completeness_error(
                net, examples.x, start, maps[title], examples.target
            )
        if "randomisation_rho" in found:
            found["randomisation_passed"] = float(found["randomisation_rho"] < FAILS_FROM)
        prefix = "" if title == name else f"control_{title}_"
        findings.metrics |= {f"{prefix}{metric}": value for metric, value in found.items()}
        table.append({"map": title, "examples": len(examples.x), **found})
        curves += [{"map": title, **row} for row in own_curves]
        depths += [{"map": title, **row} for row in depth]
    findings.tables |= {"scores": table, "curves": curves, "randomisation": depths}
    for curve in ("deletion", "insertion"):
        findings.charts[curve] = Chart("curves", "share of pixels", curve, by="map")
    if any("rho" in row for row in depths):  # maps of a single pixel have no ranks
        findings.charts["randomisation"] = Chart("randomisation", "layers", "rho", by="map")
    findings.arrays["maps"] = saved(examples, maps[name])
    findings.grids["maps"] = [grid_row(examples, maps, number) for number in range(min(SHOWN, len(examples.x)))]
    if len(examples.classes) <= CLASSES_UP_TO:
        findings.grids["classes"] = by_class(method.maps, net, examples)
    return findings


def in_parts(of: Maps, net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """Maps of all examples, some at a time."""
    parts = zip(x.split(MAPS_AT_ONCE), target.split(MAPS_AT_ONCE), strict=True)
    return torch.cat([of(net, a, b).detach() for a, b in parts])


def scored(
    net: nn.Module, examples: Examples, maps: Tensor, of: Maps, generator: torch.Generator
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """(means of the scores over the examples, rows of the curves)."""
    x, target, few = examples.x, examples.target, slice(COSTLY)
    deletion = metrics.perturbation_curve(net, x, torch.zeros_like(x), maps, target)
    insertion = metrics.perturbation_curve(net, metrics.blurred(x), x, maps, target)
    values = {
        "deletion_auc": metrics.area(deletion),
        "insertion_auc": metrics.area(insertion),
        "sparsity": metrics.sparsity(maps),
        "infidelity": metrics.infidelity(net, x[few], maps[few], target[few], generator),
        "sensitivity": metrics.sensitivity(net, x[few], maps[few], target[few], of, generator),
    }
    if examples.truth is not None:
        values |= {
            "pointing": metrics.pointing(maps, examples.truth),
            "top25_share": metrics.top_share(maps, examples.truth),
        }
    means = {name: value.double().nanmean().item() for name, value in values.items()}
    means = {name: value for name, value in means.items() if not math.isnan(value)}  # defined for no example
    shares = np.linspace(0, 1, metrics.STEPS + 1)
    rows = [
        {"share of pixels": share, "deletion": gone, "insertion": come}
        for share, gone, come in zip(shares, deletion.mean(0).tolist(), insertion.mean(0).tolist(), strict=True)
    ]
    return means, rows


def saved(examples: Examples, maps: Tensor) -> dict[str, np.ndarray]:
    """What is kept for other programs."""
    kept = {"pictures": examples.pictures, "maps": maps.cpu().numpy()}
    for name in ("target", "predicted", "labels", "truth"):
        if (tensor := getattr(examples, name)) is not None:
            kept[name] = tensor.cpu().numpy()
    return kept


def flat(maps: Tensor) -> np.ndarray:
    """Maps [C, H, W] as they are drawn: channels added up, signs kept."""
    return maps.sum(0).cpu().numpy()


def grid_row(examples: Examples, maps: dict[str, Tensor], number: int) -> Row:
    """A picture, the method's map, the map over the picture, and the controls' maps."""
    picture, own = examples.pictures[number], next(iter(maps))
    cells = [Panel("input", picture), Panel(own, map=flat(maps[own][number]))]
    cells.append(Panel("overlay", picture, flat(maps[own][number])))
    for name in (name for name in maps if name != own):
        cells.append(Panel(f"control: {name.replace('_', ' ')}", map=flat(maps[name][number])))
    return examples.title(number), cells


def by_class(of: Maps, net: nn.Module, examples: Examples) -> list[Row]:
    """The same pictures, explained for every class."""
    x, rows = examples.x[:OF_CLASSES], []
    maps = [in_parts(of, net, x, torch.full_like(examples.target[: len(x)], c)) for c in range(len(examples.classes))]
    for number in range(len(x)):
        answer = examples.classes[examples.predicted[number]]
        cells = [Panel(c, map=flat(each[number])) for c, each in zip(examples.classes, maps, strict=True)]
        rows.append((f"answered: {answer}", [Panel("input", examples.pictures[number]), *cells]))
    return rows
