"""The images that activate each filter most."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.split import Split
from mlbench.explain.base import Context, is_large
from mlbench.explain.feature_visualisation.naturalness import naturalness
from mlbench.explain.feature_visualisation.synthesis import Synthesis
from mlbench.explain.feature_visualisation.units import excitations, peaks, quick, units_of
from mlbench.runs.results import Panel, Results

HEADLINES = {"synthesised_above_top": "high", "top_activation": "", "random_activation": ""}  # what tables show


@dataclass
class Filters(Synthesis):
    """The real pictures that excite each filter most, beside the one that gradient ascent makes (Olah et al. 2017).

    Sought among `samples` random test pictures are the `top` for each filter of `layer` (null: the last convolution,
    or the last layer of hidden units). As many random ones say what the filter gives to anything. Of large pictures the
    figure shows the part around the place that excites the filter most.
    """

    needs_labels = False

    samples: int
    top: int

    def __post_init__(self):
        super().__post_init__()
        require(self.top >= 1, "top", self.top, "1 or more")
        require(self.samples >= self.top, "samples", self.samples, "as many as top or more")

    @property
    def of_classes(self) -> bool:
        """Never."""
        return False

    def path(self, net: nn.Module) -> str:
        """The layer that null stands for."""
        return self.layer or hidden(net)

    def explain(self, net: nn.Module, context: Context) -> Results:
        """Search the test images, then synthesise images for the same filters."""
        net.requires_grad_(False)
        layer = self.path(net)
        net = quick(net, context, layer)
        with units_of(net, layer, self.place) as units:
            index = torch.randperm(len(context.test), generator=context.generator)[: self.samples]
            sample = context.test.take(index.to(context.test.labels.device))
            real = excitations(units, sample)  # [N, units]
            indices = self.at_size(context.input_shape).wanted(context, units, real.shape[1])
            synthesised = self.synthesise(context, units, indices, f"filters of {layer}")
            with torch.no_grad():
                activations = units(synthesised).float().gather(1, indices[:, None]).squeeze(1)
        found = Found(sample, real[:, indices], min(self.top, len(sample)))
        if is_large(context.input_shape) and self.place == "mean":
            found.centres = peaks(net, layer, sample.batch(found.places.flatten()).x, indices.repeat(found.count))
        return self.results(context, layer, found, indices.tolist(), synthesised, activations)

    def results(
        self,
        context: Context,
        layer: str,
        found: "Found",
        indices: list[int],
        synthesised: Tensor,
        activations: Tensor,
    ) -> Results:
        """Tables and figures; `activations` [n] are those of the filters `indices` by the pictures made."""
        shown = torch.from_numpy(context.picture(synthesised)).to(activations.device)
        natural, _ = naturalness(shown, context.whole)
        columns = {
            "synthesised_activation": activations,
            "top_activation": found.strongest.mean(0),
            "random_activation": found.real[: found.count].mean(0),  # the examples are in random order
            **{f"synthesised_{name}": values for name, values in natural.items()},
        }
        results = Results(
            "filters", HEADLINES, {name: values.double().mean().item() for name, values in columns.items()}
        )
        results.metrics["synthesised_above_top"] = (activations > found.strongest[0]).double().mean().item()
        rows = zip(indices, *(values.tolist() for values in columns.values()), strict=True)
        results.tables["filters"] = [dict(zip(["filter", *columns], row, strict=True)) for row in rows]
        arrays = {"synthesised": shown.cpu().numpy(), "top": found.pictures(), "filters": np.array(indices)}
        results.arrays["filters"] = arrays
        others = "random pictures" if context.task.labelled else "photographs"
        results.grids["filters"] = [
            (
                f"filter {number}, {layer}; {others} {columns['random_activation'][n]:.2f}",
                [Panel(f"made: {activations[n]:.2f}", arrays["synthesised"][n]), *found.panels(n)],
            )
            for n, number in enumerate(indices)
        ]
        return results


@dataclass
class Found:
    """The `count` of a sample's pictures that excite each filter most."""

    sample: Split
    real: Tensor  # [N, n] excitations of the filters
    count: int
    centres: Tensor | None = None  # [count * n, 2] pixels around which a part of the picture is shown

    def __post_init__(self):
        self.strongest, self.places = self.real.topk(self.count, dim=0)  # [count, n]

    def pictures(self) -> np.ndarray:
        """uint8 [count, n, C, H, W]."""
        raw = self.sample.raw(self.places.flatten())
        return raw.view(*self.places.shape, *raw.shape[1:]).cpu().numpy()

    def panels(self, number: int) -> list[Panel]:
        """Those of one filter."""
        pictures = self.sample.raw(self.places[:, number]).cpu().numpy()
        centres = None if self.centres is None else self.centres.view(*self.places.shape, 2)[:, number].tolist()
        shown = pictures if centres is None else map(part_around, pictures, centres)
        return [
            Panel(f"{value:.2f}", each) for value, each in zip(self.strongest[:, number].tolist(), shown, strict=True)
        ]


def part_around(picture: np.ndarray, centre: Sequence[int]) -> np.ndarray:
    """The part of a picture [C, H, W] around a pixel (row, column), half as high and wide."""
    sides = [side // 2 for side in picture.shape[1:]]
    corner = [
        min(max(place - side // 2, 0), whole - side)
        for place, side, whole in zip(centre, sides, picture.shape[1:], strict=True)
    ]
    return picture[:, corner[0] : corner[0] + sides[0], corner[1] : corner[1] + sides[1]]


def hidden(net: nn.Module) -> str:
    """The path of the last convolution, or of the last linear layer before the output's."""
    paths = {path: module for path, module in net.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    convolutions = [path for path, module in paths.items() if isinstance(module, nn.Conv2d)]
    return convolutions[-1] if convolutions else (list(paths)[:-1] or list(paths))[-1]
