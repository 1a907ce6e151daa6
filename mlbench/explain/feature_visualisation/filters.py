"""The images that activate each filter most."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.split import Split
from mlbench.explain.base import Context
from mlbench.explain.feature_visualisation.image_parametrisation import Units
from mlbench.explain.feature_visualisation.naturalness import naturalness
from mlbench.explain.feature_visualisation.synthesis import Synthesis, units_of
from mlbench.runs.results import Panel, Results

AT_ONCE = 256  # pictures
HEADLINES = {"synthesised_above_top": "high", "top_activation": "", "random_activation": ""}  # what tables show


@dataclass
class Filters(Synthesis):
    """The real pictures that excite each filter most, beside the one that gradient ascent makes (Olah et al. 2017).

    Sought among `samples` random test pictures are the `top` for each filter of `layer` (null: the last convolution,
    or the last layer of hidden units). As many random ones say what the filter gives to anything.
    """

    samples: int
    top: int

    def __post_init__(self):
        super().__post_init__()
        require(self.top >= 1, "top", self.top, "1 or more")
        require(self.samples >= self.top, "samples", self.samples, "as many as top or more")

    def path(self, net: nn.Module) -> str:
        """The layer that null stands for."""
        return self.layer or hidden(net)

    def explain(self, net: nn.Module, context: Context) -> Results:
        """Search the test images, then synthesise images for the same filters."""
        net.requires_grad_(False)
        layer = self.path(net)
        with units_of(net, layer, self.place) as units:
            index = torch.randperm(len(context.test), generator=context.generator)[: self.samples]
            sample = context.test.take(index.to(context.test.labels.device))
            real = excitations(units, sample)  # [N, units]
            indices = torch.tensor(self.indices(real.shape[1]), device=real.device)
            synthesised = self.synthesise(context, units, indices, f"filters of {layer}")
            with torch.no_grad():
                activations = units(synthesised).float().gather(1, indices[:, None]).squeeze(1)
        return self.results(context, layer, sample, real[:, indices], indices.tolist(), synthesised, activations)

    def results(
        self,
        context: Context,
        layer: str,
        sample: Split,
        real: Tensor,
        indices: list[int],
        synthesised: Tensor,
        activations: Tensor,
    ) -> Results:
        """Tables and figures; `real` [N, n] and `activations` [n] are excitations of the filters `indices`."""
        count = min(self.top, len(sample))
        strongest, places = real.topk(count, dim=0)  # [top, n]
        shown = torch.from_numpy(context.picture(synthesised)).to(real.device)
        natural, _ = naturalness(shown, context.whole)
        columns = {
            "synthesised_activation": activations,
            "top_activation": strongest.mean(0),
            "random_activation": real[:count].mean(0),  # the examples are in random order
            **{f"synthesised_{name}": values for name, values in natural.items()},
        }
        results = Results(
            "filters", HEADLINES, {name: values.double().mean().item() for name, values in columns.items()}
        )
        results.metrics["synthesised_above_top"] = (activations > strongest[0]).double().mean().item()
        rows = zip(indices, *(values.tolist() for values in columns.values()), strict=True)
        results.tables["filters"] = [dict(zip(["filter", *columns], row, strict=True)) for row in rows]
        pictures = sample.raw(places.flatten()).view(*places.shape, *shown.shape[1:])  # [top, n, C, H, W]
        arrays = {"synthesised": shown.cpu().numpy(), "top": pictures.cpu().numpy(), "filters": np.array(indices)}
        results.arrays["filters"] = arrays
        results.grids["filters"] = [
            (
                f"filter {number} of layer {layer}; random pictures excite it by {columns['random_activation'][n]:.2f}",
                [
                    Panel(f"made: {activations[n]:.2f}", arrays["synthesised"][n]),
                    *(Panel(f"{strongest[k, n]:.2f}", arrays["top"][k, n]) for k in range(count)),
                ],
            )
            for n, number in enumerate(indices)
        ]
        return results


@torch.no_grad()
def excitations(units: Units, split: Split) -> Tensor:
    """The activation of each unit by each example, [N, units]."""
    return torch.cat([units(split.batch(index).x).float() for index in split.chunks(AT_ONCE)])


def hidden(net: nn.Module) -> str:
    """The path of the last convolution, or of the last linear layer before the output's."""
    paths = {path: module for path, module in net.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    convolutions = [path for path, module in paths.items() if isinstance(module, nn.Conv2d)]
    return convolutions[-1] if convolutions else (list(paths)[:-1] or list(paths))[-1]
