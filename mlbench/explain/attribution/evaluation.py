"""Evaluation of attribution maps and of their controls, the same for all modalities."""

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
from mlbench.explain.attribution.photograph_scores import PhotographScores
from mlbench.explain.attribution.randomisation import FAILS_FROM, cascade
from mlbench.explain.base import Attribution, Maps, at_once
from mlbench.runs.results import Chart, Results
from mlbench.training.compute import Compute
from mlbench.training.peak_memory import peak_bytes

MAPS_AT_ONCE = 32  # pictures
QUICK_STEPS = 3  # steps of a quick randomisation: the classifier, half of the layers, all of them
COSTLY = 16  # examples for the scores that need many maps of each
FEW = 4  # for a quick randomisation


def evaluate(
    method: Attribution,
    view: View,
    modality: Modality,
    name: str,
    generator: torch.Generator,
    compute: Compute,
    extent: str = "full",
) -> Results:
    """Compute metrics of a method and of each control.

    Args:
        method: The explanation.
        view: The examples, and how their maps are drawn.
        modality: What the examples are.
        name: The method's name in tables.
        generator: Random numbers for controls and metrics.
        compute: The device, which is synchronised before a clock is read.
        extent: `full`; `quick` for the randomisation of the method's maps in QUICK_STEPS steps; or `none`.

    Returns:
        Metrics (those of controls under `control_<name>_`), tables, figures and arrays.
    """
    count, classes = sum(map(len, view.examples)), view.examples[0].classes
    makers = {name: method.maps, **controls(method.maps, view, len(classes), generator)}
    results, maps = Results("maps", metrics.HEADLINES), {}
    curves, depths, table, thorough = [], [], [], view.thorough and extent == "full"
    photographs = PhotographScores(method, name, view, generator) if extent != "none" else None
    for title, maker in makers.items():
        compute.wait()
        began = time.perf_counter()
        maps[title] = [in_parts(maker, each.net, each.x, each.target) for each in view.examples]
        compute.wait()
        seconds = (time.perf_counter() - began) / count
        values = [view.reduced(method, each) for each in maps[title]]
        costs = {f"seconds_per_{modality.example_name}": seconds}
        if thorough:
            costs["peak_bytes"] = peak(view.examples[0], maker)
        scores, rows = {}, []
        if extent == "full":
            scores, rows = score_maps(view, values, maker, generator, f"share of {modality.unit}")
        scores |= costs
        if thorough or (view.thorough and extent == "quick" and title == name):
            (examples,) = view.examples
            depth = randomisation(examples, maker, generator, None if thorough else maps[title][0])
            scores |= checks(method if title == name else None, examples, values[0], depth)
            depths += [{"map": title, **row} for row in depth]
        if photographs is not None:
            scores |= photographs.of(title, maker, values[0])
        prefix = "" if title == name else f"control_{title}_"
        results.metrics |= {f"{prefix}{metric}": value for metric, value in scores.items()}
        table.append({"map": title, "examples": count, **scores})
        curves += [{"map": title, **row} for row in rows]
    if photographs is not None:
        photographs.finish(results, table)
    results.tables["scores"] = table
    if curves:
        results.tables["curves"] = curves
        for curve in ("deletion", "insertion"):
            results.charts[curve] = Chart("curves", f"share of {modality.unit}", curve, by="map")
    if depths:
        results.tables["randomisation"] = depths
    if any("abs_rho" in row for row in depths):  # maps of a single pixel have no ranks
        results.charts["randomisation"] = Chart("randomisation", "layers", "abs_rho", by="map")
    view.show(results, method, name, maps)
    return results


def in_parts(maker: Maps, net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """Maps of all examples, MAPS_AT_ONCE at a time, fewer of large pictures."""
    most = at_once(MAPS_AT_ONCE, x)
    parts = zip(x.split(most), target.split(most), strict=True)
    return torch.cat([maker(net, a, b).detach() for a, b in parts])


def score_maps(
    view: View, maps: list[Tensor], maker: Maps, generator: torch.Generator, part: str
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """(means of the metrics over the examples, rows of the mean curves over the share of `part`)."""
    values: dict[str, list[Tensor]] = {}
    curves: dict[str, list[Tensor]] = {}
    for examples, each in zip(view.examples, maps, strict=True):
        own = perturbation_curves(view, examples, each)
        scores = {area_name(name): metrics.area(curve) for name, curve in own.items()}
        scores["sparsity"] = metrics.sparsity(each)
        if view.thorough:
            few = (examples.net, examples.x[:COSTLY], each[:COSTLY], examples.target[:COSTLY])
            scores["infidelity"] = metrics.infidelity(*few, generator)
            scores["sensitivity"] = metrics.sensitivity(*few, maker, generator)
        if examples.truth is not None and examples.truth.any():
            scores["pointing"] = metrics.pointing(each, examples.truth)
            scores["top25_share"] = metrics.top_share(each, examples.truth)
        for name, score in scores.items():
            values.setdefault(name, []).append(score.double())
        for name, curve in own.items():
            curves.setdefault(name, []).append(curve)
    means = {name: torch.cat(parts).nanmean().item() for name, parts in values.items()}
    means = {name: value for name, value in means.items() if not math.isnan(value)}  # defined for no example
    lines = {name: torch.cat(parts).mean(0).tolist() for name, parts in curves.items()}
    shares = np.linspace(0, 1, metrics.STEPS + 1)
    return means, [{part: share, **{name: line[k] for name, line in lines.items()}} for k, share in enumerate(shares)]


def perturbation_curves(view: View, examples: Examples, maps: Tensor) -> dict[str, Tensor]:
    """`deletion` and `insertion` by the sizes of the maps, and `_signed` by their signed values: [B, STEPS + 1] each.

    Two rankings answer two questions: which pixels matter, and which speak for the class.
    """
    net, x, target = examples.net, examples.x, examples.target
    curves = {}
    for mark, signed in (("", False), ("_signed", True)):
        curves[f"deletion{mark}"] = metrics.perturbation_curve(net, x, torch.zeros_like(x), maps, target, signed)
        curves[f"insertion{mark}"] = metrics.perturbation_curve(net, view.empty(x), x, maps, target, signed)
    return curves


def area_name(curve: str) -> str:
    """The metric of the area under a curve: `deletion_auc`, `deletion_auc_signed`."""
    name, mark, _ = curve.partition("_signed")
    return f"{name}_auc{mark}"


def randomisation(
    examples: Examples, maker: Maps, generator: torch.Generator, before: Tensor | None = None
) -> list[dict[str, object]]:
    """Rows of the model randomisation test, of each layer; with the maps `before` it of FEW examples in QUICK_STEPS.

    There are none for a function without weights.
    """
    seed = generator.initial_seed() % 2**32
    if before is None:
        return cascade(examples.net, examples.x[:COSTLY], examples.target[:COSTLY], maker, seed)
    few = (examples.net, examples.x[:FEW], examples.target[:FEW])
    return cascade(*few, maker, seed, QUICK_STEPS, before[:FEW])


def peak(examples: Examples, maker: Maps) -> float:
    """Peak memory of maps of MAPS_AT_ONCE examples, in bytes."""
    few = (examples.net, examples.x[:MAPS_AT_ONCE], examples.target[:MAPS_AT_ONCE])
    return float(peak_bytes(partial(maker, *few), examples.x.device))


def checks(
    method: Attribution | None, examples: Examples, maps: Tensor, depth: list[dict[str, object]]
) -> dict[str, float]:
    """Similarity of maps after randomising the top layer, and completeness if `method` promises it."""
    top = depth[0] if depth else {}
    scores = {f"randomisation_{key}": top[key] for key in ("rho", "abs_rho", "ssim") if key in top}
    if method is not None and (start := method.origin(examples.x)) is not None:
        about = (examples.net, examples.x, start, maps, examples.target)
        scores["completeness_error"] = metrics.completeness_error(*about)
    if "randomisation_abs_rho" in scores:  # by size, as the other scores rank
        scores["randomisation_passed"] = float(scores["randomisation_abs_rho"] < FAILS_FROM)
    return scores
