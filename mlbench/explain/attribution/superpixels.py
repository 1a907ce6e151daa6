"""Linear models of the logit over the presence of superpixels: the base class of LIME and Kernel SHAP."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mlbench.core.errors import need, require
from mlbench.data.modality import Pictures, Spectrograms, Tables
from mlbench.explain.attribution.captum_adapter import drawing
from mlbench.explain.attribution.segments import slic
from mlbench.explain.base import Attribution, Context, logit

AT_ONCE = 256  # perturbed pictures


@dataclass
class Superpixels(Attribution):
    """The weights of a linear model of the logit, fitted by captum's LimeBase to inputs without some superpixels.

    Removed superpixels (SLIC) are 0 after normalisation, the mean of the training data. Each pixel gets the weight of
    its superpixel. Subclasses choose the perturbations and their weights.

    Args:
        segments: Approximate number of superpixels; in a table each feature is one, whatever the number.
        perturbations: Number of perturbed inputs.
    """

    modalities = (Pictures, Spectrograms, Tables)
    shortest = {"perturbations": 10}

    segments: int
    perturbations: int

    def __post_init__(self):
        super().__post_init__()
        require(self.segments >= 2, "segments", self.segments, "2 or more")
        require(self.perturbations >= 10, "perturbations", self.perturbations, "10 or more")

    def sample_masks(self, count: int) -> Tensor:
        """Which of `count` superpixels are present in each perturbed input, 0 or 1, float [perturbations, count]."""
        raise NotImplementedError

    def weights(self, masks: Tensor) -> Tensor:
        """The weight [n] of each of the perturbed inputs [n, count]."""
        raise NotImplementedError

    def model(self) -> Any:
        """Captum's linear model before it is fitted."""
        raise NotImplementedError

    def check(self, net: nn.Module) -> None:  # noqa: ARG002
        """Raise UserError unless captum and scikit-image are installed."""
        need("captum.attr", "explain", "an explanation by superpixels")
        need("skimage.segmentation", "explain", "an explanation by superpixels")

    def look(self, context: Context) -> None:
        """Perturbations are drawn from the run's generator."""
        self.generator = context.generator

    def maps(self, net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """[B, 1, H, W]; one input after the other, since captum fits one model at a time."""
        labels, values = slic(x, self.segments), []
        with drawing(self.generator, x.device):
            for picture, numbers, label in zip(x.split(1), labels, target.split(1), strict=True):
                values.append(self.fit(net, picture, numbers, label)[numbers])
        return torch.stack(values)[:, None].to(x.dtype)

    def fit(self, net: nn.Module, x: Tensor, labels: Tensor, target: Tensor) -> Tensor:
        """The weight of each superpixel [count] of one input [1, C, H, W] with labels of superpixels [H, W]."""
        from captum.attr import LimeBase

        count = int(labels.max()) + 1
        if count == 1:  # its whole effect
            with torch.no_grad():
                return logit(net, x, target) - logit(net, torch.zeros_like(x), target)
        masks = self.sample_masks(count).to(x.device)  # [n, count]
        weights = iter(self.weights(masks).split(1))

        def perturb(inputs: Tensor, **settings: object) -> Iterator[Tensor]:  # noqa: ARG001
            yield from masks.split(1)

        lime = LimeBase(
            net,
            self.model(),
            similarity_func=lambda *_, **settings: next(weights),  # noqa: ARG005
            perturb_func=perturb,
            perturb_interpretable_space=True,
            from_interp_rep_transform=lambda row, inputs, **settings: inputs * row[0, labels],  # noqa: ARG005
            to_interp_rep_transform=None,
        )
        return lime.attribute(x, target=target, n_samples=len(masks), perturbations_per_eval=AT_ONCE).flatten()
