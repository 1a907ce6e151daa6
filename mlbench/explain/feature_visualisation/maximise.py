"""Activation maximisation."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.explain.base import Context
from mlbench.explain.feature_visualisation.naturalness import naturalness
from mlbench.explain.feature_visualisation.synthesis import Synthesis
from mlbench.explain.feature_visualisation.units import Units, excitations, quick, units_of
from mlbench.runs.results import Panel, Results, Row

SHOWN = 12  # columns of the figure
MEASURES = ("total_variation", "nearest_distance")  # how natural pictures are; a few photographs do without the second


@dataclass
class Maximise(Synthesis):
    """Pictures that excite a class, a filter or a neuron most, by gradient ascent (Simonyan et al. 2014, section 2).

    The search is done twice, without regularisers (noise) and with them. `copies` pictures are made for each unit, from
    different beginnings. How natural they are is measured beside as many real test pictures, of the same classes where
    the units are classes: total variation, and the distance to the nearest training picture, both for values 0..1.
    Of photographs without labels the real ones are those that excite the unit most.
    """

    needs_labels = False

    copies: int | None

    def __post_init__(self):
        super().__post_init__()
        require(self.copies is None or self.copies >= 1, "copies", self.copies, "1 or more")

    def explain(self, net: nn.Module, context: Context) -> Results:
        """Synthesise images with and without regularisers and measure how natural they are."""
        net.requires_grad_(False)
        search = self.at_size(context.input_shape)
        with units_of(quick(net, context, self.layer), self.layer, self.place) as units:
            with torch.no_grad():
                count = units(context.train.batch(torch.zeros_like(context.train.labels[:1])).x).shape[1]
            indices = search.wanted(context, units, count).repeat(search.copies)
            images = {
                "real": self.real(context, indices) if context.task.labelled else strongest(context, units, indices),
                "raw": self.raw().synthesise(context, units, indices, "raw pixels"),
                "regularised": self.synthesise(context, units, indices, "regularised"),
            }
            return search.results(context, units, indices, images)

    def real(self, context: Context, indices: Tensor) -> Tensor:
        """A test picture [n, C, H, W] for each unit wanted, of its class where units are classes."""
        order = torch.randperm(len(context.test), generator=context.generator).to(indices.device)
        if not self.of_classes:
            return context.test.batch(order[torch.arange(len(indices), device=indices.device) % len(order)]).x
        labels, used, chosen = context.test.labels[order], {}, []
        for unit in indices.tolist():
            of_class = order[labels == unit]
            of_class = of_class if len(of_class) else order  # a class that has no test pictures
            chosen.append(of_class[used.get(unit, 0) % len(of_class)])
            used[unit] = used.get(unit, 0) + 1
        return context.test.batch(torch.stack(chosen)).x

    def results(self, context: Context, units: Units, indices: Tensor, images: dict[str, Tensor]) -> Results:
        """Tables, metrics, pictures."""
        results, each, table = (
            Results("pictures made", headlines(images, MEASURES if context.task.labelled else MEASURES[:1])),
            [],
            [],
        )
        arrays, activations = {"units": indices.cpu().numpy()}, {}
        for name, x in images.items():
            shown = torch.from_numpy(context.picture(x)).to(x.device)
            columns, which = naturalness(shown, context.whole)
            columns |= excitation(units, x, indices, classes=self.of_classes)
            means = {column: values.double().mean().item() for column, values in columns.items()}
            results.metrics |= {f"{name}_{column}": value for column, value in means.items()}
            table.append({"pictures": name, "count": len(x), **means})
            rows = zip(indices.tolist(), *(values.tolist() for values in columns.values()), strict=True)
            each += [{"pictures": name, **dict(zip(["unit", *columns], row, strict=True))} for row in rows]
            arrays |= {name: shown.cpu().numpy(), f"{name}_nearest": context.whole.raw(which).cpu().numpy()}
            activations[name] = columns["activation"].tolist()
        if real := results.metrics["real_total_variation"]:
            for row in table:
                row["of_real_variation"] = row["total_variation"] / real
        results.tables |= {"naturalness": table, "pictures": each}
        results.arrays["maximised"] = arrays
        results.grids["maximised"] = self.figure_rows(context, arrays, activations)
        return results

    def figure_rows(self, context: Context, arrays: dict, activations: dict[str, list[float]]) -> list[Row]:
        """A row for each kind of picture, a column for each unit, up to SHOWN; the first copy of each."""
        shown = min(SHOWN, len(arrays["units"]) // self.copies)
        name = context.classes.__getitem__ if self.of_classes else "unit {}".format
        names = [name(int(unit)) for unit in arrays["units"][:shown]]
        titles = {
            "real": f"real {'test pictures' if context.task.labelled else 'photographs'}, and their activation",
            "raw": "raw pixels: gradient ascent, nothing more",
            "regularised": self.description(),
        }
        rows = []
        for kind, title in titles.items():
            pairs = zip(names, activations[kind], arrays[kind], strict=False)
            rows.append((title, [Panel(f"{each}: {value:.1f}", picture) for each, value, picture in pairs]))
        if not context.task.labelled:
            return rows  # a distance to a few photographs says nothing
        closest = arrays["regularised_nearest"][:shown]
        rows.append(("the training pictures nearest to these", [Panel(picture=picture) for picture in closest]))
        return rows


@torch.no_grad()
def excitation(units: Units, x: Tensor, indices: Tensor, classes: bool) -> dict[str, Tensor]:
    """How excited each wanted unit is [n], and a class's probability, which says nothing of naturalness."""
    outputs = units(x).float()
    values = {"activation": outputs.gather(1, indices[:, None]).squeeze(1)}
    if classes:
        values["probability"] = outputs.softmax(1).gather(1, indices[:, None]).squeeze(1)
    return values


def strongest(context: Context, units: Units, indices: Tensor) -> Tensor:
    """The test picture [n, C, H, W] that excites each unit most; the next ones where a unit is there again."""
    order, rank, places = excitations(units, context.test)[:, indices].argsort(0, descending=True), Counter(), []
    for column, unit in enumerate(indices.tolist()):
        places.append(order[rank[unit] % len(order), column])
        rank[unit] += 1
    return context.test.batch(torch.stack(places)).x


def headlines(kinds: Iterable[str], measures: Iterable[str]) -> dict[str, str]:
    """How natural pictures of each kind are; none has a good end of its own, only one beside the real ones."""
    return {f"{name}_{measure}": "" for measure in measures for name in kinds}
