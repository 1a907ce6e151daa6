"""Attributions for rows of a table, drawn as bars.

A row is explained as a picture [1, 1, F] with one pixel for each feature. 0 stands for an absent feature: its mean over
the training data, unless data.normalise=none.
"""

from collections import Counter

import torch
from torch import Tensor, nn

from mlbench.explain.attribution.examples import Examples, View
from mlbench.explain.base import Attribution, Context
from mlbench.runs.results import Bars, Results

SHOWN = 5  # rows in the figure
LONGEST = 30  # characters of a name beside a bar


class FromFeatures(nn.Module):
    """The network as a function of rows in the shape [B, 1, 1, F]."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, outputs]."""
        return self.net(x.flatten(1))


class FeatureView(View):
    """Test rows drawn by the seed."""

    controls = ("random", "input", "wrong_class")  # features have no neighbours, so there are no edges

    def __init__(self, net: nn.Module, method: Attribution, context: Context):
        batch = context.test.batch(context.chosen(method))
        self.features = context.task.modality.part_names(context.input_shape)
        with torch.no_grad():
            predicted = net(batch.x).argmax(1)
        target = predicted if method.target is None else torch.full_like(predicted, method.target)
        about = (target, predicted, batch.y, None, context.classes)
        self.examples = [Examples(FromFeatures(net).eval(), batch.x[:, None, None], *about)]

    def empty(self, x: Tensor) -> Tensor:
        """Every feature absent."""
        return torch.zeros_like(x)

    def show(self, results: Results, method: Attribution, name: str, maps: dict[str, list[Tensor]]) -> None:
        """Bars of the mean absolute attribution of each feature, and of the attributions in a few rows."""
        (examples,), (values,) = self.examples, maps[name]
        values = self.reduced(method, values).flatten(1).cpu()  # [B, F]
        means = values.abs().mean(0).tolist()
        labels = bar_labels(self.features)
        bars = [Bars(f"mean size over {len(values)} rows", labels, means)]
        shown = range(min(SHOWN, len(values)))
        bars += [Bars(examples.title(number), labels, values[number].tolist()) for number in shown]
        results.bars["features"] = bars
        results.tables["features"] = [
            {"feature": feature, "mean_size": size} for feature, size in zip(self.features, means, strict=True)
        ]
        results.arrays["maps"] = {
            "maps": values.numpy(),
            "features": self.features,
            "rows": examples.x.flatten(1).cpu().numpy(),
            "target": examples.target.cpu().numpy(),
            "predicted": examples.predicted.cpu().numpy(),
            "labels": examples.labels.cpu().numpy(),
        }


def bar_labels(features: list[str]) -> list[str]:
    """Names short enough to leave room for the bars, without the middle of a long one.

    Args:
        features: F names of columns.

    Returns:
        F labels, with the number of the column where two would otherwise be the same.
    """
    labels = [shortened(name, LONGEST) for name in features]
    repeated = {label for label, count in Counter(labels).items() if count > 1}
    numbered = enumerate(zip(features, labels, strict=True), start=1)
    return [f"{n}: {shortened(name, LONGEST - 4)}" if label in repeated else label for n, (name, label) in numbered]


def shortened(name: str, length: int) -> str:
    """The name in at most `length` characters, with an ellipsis for its middle."""
    half = (length - 1) // 2
    return name if len(name) <= length else f"{name[: length - 1 - half]}…{name[-half:]}"
