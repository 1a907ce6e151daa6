"""Linear models of what a network says while superpixels come and go: what LIME and Kernel SHAP share."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mlbench.core.errors import need, require
from mlbench.data.modality import Pictures, Spectrograms, Tables
from mlbench.explain.attribution.captum_adapter import drawing
from mlbench.explain.attribution.segments import slic
from mlbench.explain.base import Attribution, Workbench, logit

AT_ONCE = 256  # perturbed pictures


@dataclass
class Superpixels(Attribution):
    """The weights of a linear model, by captum's LimeBase, of the logit of pictures some of whose SLIC superpixels are
    grey, the mean of the training pictures. Each pixel gets its superpixel's weight.

    About `segments` superpixels, `perturbations` pictures; a subclass says which are drawn and how much each counts.
    """

    modalities = (Pictures, Spectrograms, Tables)

    segments: int  # of a row of a table each feature is one
    perturbations: int

    def __post_init__(self):
        super().__post_init__()
        require(self.segments >= 2, "segments", self.segments, "2 or more")
        require(self.perturbations >= 10, "perturbations", self.perturbations, "10 or more")

    def drawn(self, count: int) -> Tensor:
        """Which of `count` superpixels stay in each perturbed picture, float [perturbations, count]."""
        raise NotImplementedError

    def weights(self, kept: Tensor) -> Tensor:
        """How much each of the perturbed pictures [n, count] counts, [n]."""
        raise NotImplementedError

    def model(self) -> Any:
        """Captum's linear model, not fitted."""
        raise NotImplementedError

    def check(self, net: nn.Module) -> None:  # noqa: ARG002
        """captum and scikit-image must be there."""
        need("captum.attr", "explain", "an explanation by superpixels")
        need("skimage.segmentation", "explain", "an explanation by superpixels")

    def look(self, bench: Workbench) -> None:
        """Perturbations come from the technique's own draws."""
        self.generator = bench.generator

    def maps(self, net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """[B, 1, H, W]; one picture after the other, since captum fits one model at a time."""
        labels, found = slic(x, self.segments), []
        with drawing(self.generator, x.device):
            for picture, numbers, wanted in zip(x.split(1), labels, target.split(1), strict=True):
                found.append(self.fitted(net, picture, numbers, wanted)[numbers])
        return torch.stack(found)[:, None].to(x.dtype)

    def fitted(self, net: nn.Module, x: Tensor, labels: Tensor, target: Tensor) -> Tensor:
        """The weight of each superpixel [count] of one picture [1, C, H, W] with superpixels [H, W]."""
        from captum.attr import LimeBase

        count = int(labels.max()) + 1
        if count == 1:  # all there is to say
            with torch.no_grad():
                return logit(net, x, target) - logit(net, torch.zeros_like(x), target)
        kept = self.drawn(count).to(x.device)  # [n, count]
        weights = iter(self.weights(kept).split(1))

        def perturbed(inputs: Tensor, **settings: object) -> Iterator[Tensor]:  # noqa: ARG001
            yield from kept.split(1)

        lime = LimeBase(
            net,
            self.model(),
            similarity_func=lambda *_, **settings: next(weights),  # noqa: ARG005
            perturb_func=perturbed,
            perturb_interpretable_space=True,
            from_interp_rep_transform=lambda row, inputs, **settings: inputs * row[0, labels],  # noqa: ARG005
            to_interp_rep_transform=None,
        )
        return lime.attribute(x, target=target, n_samples=len(kept), perturbations_per_eval=AT_ONCE).flatten()
