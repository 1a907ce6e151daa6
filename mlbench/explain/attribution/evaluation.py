"""Scores for a method's maps, beside those of controls: one code for examples of every modality."""

import math
import time
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from mlbench.data.modality import Modality
from mlbench.explain.attribution import metrics
from mlbench.explain.attribution.controls import controls
from mlbench.explain.attribution.examples import Examples, View
from mlbench.explain.attribution.randomisation import FAILS_FROM, cascade
from mlbench.explain.base import Attribution, Maps
from mlbench.runs.results import Chart, Findings
from mlbench.training.compute import Compute
from mlbench.training.peak_memory import peak_bytes

MAPS_AT_ONCE = 32  # pictures
COSTLY = 16  # examples for the scores that need many maps of each


def evaluate(
    method: Attribution, view: View, modality: Modality, name: str, generator: torch.Generator, compute: Compute
) -> Findings:
    """Every score of a method and of each control, the figures, and the maps themselves.

    Args:
        method: The explanation.
        view: The examples, and how they are shown.
        modality: What the examples are.
        name: The method's name in tables.
        generator: For the draws of controls and of scores.
        compute: Where it is computed, so that clocks tell the truth.

    Returns:
        Metrics (those of controls under `control_<name>_`), tables, figures and arrays.
    """
    count, classes = sum(map(len, view.examples)), view.examples[0].classes
    makers = {name: method.maps, **controls(method.maps, view, len(classes), generator)}
    results, maps = Findings("maps", metrics.HEADLINES), {}
    curves, depths, table = [], [], []
    for title, maker in makers.items():
        compute.wait()
        began = time.perf_counter()
        maps[title] = [in_parts(maker, each.net, each.x, each.target) for each in view.examples]
        compute.wait()
        seconds = (time.perf_counter() - began) / count
        values = [view.reduced(method, each) for each in maps[title]]
        costs = {f"seconds_per_{modality.example_name}": seconds}
        if view.thorough:
            costs["peak_bytes"] = peak(view.examples[0], maker)
        scores, rows = scored(view, values, maker, generator, f"share of {modality.unit}")
        scores |= costs
        if view.thorough:
            (examples,) = view.examples
            depth = randomisation(examples, maker, generator)
            scores |= checks(method if title == name else None, examples, values[0], depth)
            depths += [{"map": title, **row} for row in depth]
        prefix = "" if title == name else f"control_{title}_"
        results.metrics |= {f"{prefix}{metric}": value for metric, value in scores.items()}
        table.append({"map": title, "examples": count, **scores})
        curves += [{"map": title, **row} for row in rows]
    results.tables |= {"scores": table, "curves": curves}
    for curve in ("deletion", "insertion"):
        results.charts[curve] = Chart("curves", f"share of {modality.unit}", curve, by="map")
    if depths:
        results.tables["randomisation"] = depths
    if any("rho" in row for row in depths):  # maps of a single pixel have no ranks
        results.charts["randomisation"] = Chart("randomisation", "layers", "rho", by="map")
    view.show(results, method, name, maps)
    return results


def in_parts(maker: Maps, net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """Maps of all examples, some at a time."""
    parts = zip(x.split(MAPS_AT_ONCE), target.split(MAPS_AT_ONCE), strict=True)
    return torch.cat([maker(net, a, b).detach() for a, b in parts])


def scored(
    view: View, maps: list[Tensor], maker: Maps, generator: torch.Generator, part: str
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """(means of the scores over the examples, rows of the mean curves over the share of `part`)."""
    values: dict[str, list[Tensor]] = {}
    deletions, insertions = [], []
    for examples, each in zip(view.examples, maps, strict=True):
        net, x, target = examples.net, examples.x, examples.target
        deletions.append(metrics.perturbation_curve(net, x, torch.zeros_like(x), each, target))
        insertions.append(metrics.perturbation_curve(net, view.empty(x), x, each, target))
        scores = {
            "deletion_auc": metrics.area(deletions[-1]),
            "insertion_auc": metrics.area(insertions[-1]),
            "sparsity": metrics.sparsity(each),
        }
        if view.thorough:
            few = (net, x[:COSTLY], each[:COSTLY], target[:COSTLY])
            scores["infidelity"] = metrics.infidelity(*few, generator)
            scores["sensitivity"] = metrics.sensitivity(*few, maker, generator)
        if examples.truth is not None and examples.truth.any():
            scores["pointing"] = metrics.pointing(each, examples.truth)
            scores["top25_share"] = metrics.top_share(each, examples.truth)
        for name, score in scores.items():
            values.setdefault(name, []).append(score.double())
    means = {name: torch.cat(parts).nanmean().item() for name, parts in values.items()}
    means = {name: value for name, value in means.items() if not math.isnan(value)}  # defined for no example
    lines = zip(
        np.linspace(0, 1, metrics.STEPS + 1),
        torch.cat(deletions).mean(0).tolist(),
        torch.cat(insertions).mean(0).tolist(),
        strict=True,
    )
    return means, [{part: share, "deletion": gone, "insertion": come} for share, gone, come in lines]


def randomisation(examples: Examples, maker: Maps, generator: torch.Generator) -> list[dict[str, object]]:
    """How alike maps stay while layers are drawn anew."""
    seed = generator.initial_seed() % 2**32
    return cascade(examples.net, examples.x[:COSTLY], examples.target[:COSTLY], maker, seed)


def peak(examples: Examples, maker: Maps) -> float:
    """The bytes that maps of MAPS_AT_ONCE examples take at their peak."""
    few = (examples.net, examples.x[:MAPS_AT_ONCE], examples.target[:MAPS_AT_ONCE])
    return float(peak_bytes(partial(maker, *few), examples.x.device))


def checks(
    method: Attribution | None, examples: Examples, maps: Tensor, depth: list[dict[str, object]]
) -> dict[str, float]:
    """How maps change with the top layer, and, of a `method` that promises it, how far they add up."""
    found = {f"randomisation_{key}": depth[0][key] for key in ("rho", "abs_rho", "ssim") if key in depth[0]}
    if method is not None and (start := method.origin(examples.x)) is not None:
        about = (examples.net, examples.x, start, maps, examples.target)
        found["completeness_error"] = metrics.completeness_error(*about)
    if "randomisation_rho" in found:
        found["randomisation_passed"] = float(found["randomisation_rho"] < FAILS_FROM)
    return found
