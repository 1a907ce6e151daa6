"""Probing classifiers on every layer, and the baselines that show where their accuracy comes from."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mlbench.core.errors import UserError, require
from mlbench.data.modality import EVERY
from mlbench.data.properties import Items, Properties
from mlbench.data.split import Pool, Split
from mlbench.data.stream import Task
from mlbench.explain.base import Context, Method
from mlbench.explain.representation import probe_baselines
from mlbench.explain.representation.activations import check_layers, check_vectors, layers_of, vectors
from mlbench.explain.representation.logistic_regression import chosen_solution, solution
from mlbench.explain.representation.probe_results import Fit, ProbeResults
from mlbench.explain.representation.probe_training import (
    EarlyStopping,
    Mix,
    Perceptron,
    Standardise,
    answers,
    begin_with_frequencies,
)
from mlbench.explain.representation.properties import properties_of, select_property, subset
from mlbench.runs.results import Results

STORED = torch.float16  # of vectors: a hundred thousand words in ten layers are a quarter of a gigabyte then
HELD_OUT = 0.1  # of the items, where the data has no validation set of its own


@dataclass
class Probe(Method):
    """A probe for `property` on each layer (Alain & Bengio 2016), for each of the sizes `hidden`, until it converges.

    A size of 0 is a linear probe, others are hidden units of a perceptron (one layer, ReLU). `property` null takes the
    first that the data knows. Beside each probe stand the same one on the untrained network, what a word's form alone
    predicts (`lookup`: its most frequent value in training), the most frequent value of all, and the control task of
    Hewitt & Liang (2019): values drawn at random for each form, from the values' frequencies; selectivity is the
    accuracy less that of the control (their equation 1). Forms of which no value has nine tenths in training are
    ambiguous: there a lookup has to guess. Items that are no words have no form, and so neither lookup nor control.

    A linear probe is solved by L-BFGS until its gradient is zero. Others, those of mixes too, learn with Adam until the
    loss on development data has not fallen for `patience` epochs, or for all `epochs`; the best epoch is kept. What has
    not converged is said. `weight_decay` null chooses each linear probe's L2 penalty on development data, and none
    for others.

    All numbers of a probe are those of one layer, the one with the highest accuracy on validation data. `mix` adds
    linear probes on weighed sums of the layers 0 to l (Tenney et al. 2019). `train_samples` is how many items at most
    are learned from; null takes all.
    """

    needs_classes = False
    modalities = EVERY

    property: str | None
    hidden: list[int]
    mix: bool
    train_samples: int | None
    epochs: int
    batch_size: int
    lr: float
    patience: int
    weight_decay: float | None

    def __post_init__(self):
        sizes = self.hidden and all(size >= 0 for size in self.hidden) and len(set(self.hidden)) == len(self.hidden)
        require(bool(sizes), "hidden", self.hidden, "a list of different sizes, 0 for a linear probe")
        require(
            self.train_samples is None or self.train_samples >= 20,
            "train_samples",
            self.train_samples,
            "20 or more, or null",
        )
        for name in ("epochs", "batch_size", "patience"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        require(self.lr > 0, "lr", self.lr, "above 0")
        decay = self.weight_decay
        require(decay is None or decay >= 0, "weight_decay", decay, "0 or more, or null to choose it")

    def check_data(self, task: Task, classes: list[str]) -> None:
        """Raise SettingError unless the data has the property, and UserError for too few items."""
        super().check_data(task, classes)
        properties = properties_of(task, classes)
        select_property(self.property, properties)
        if len(properties.train) < 2 and properties.validation is None:
            raise UserError("explain=probe learns from some items and chooses by others; needed are 2 or more")

    def check(self, net: nn.Module) -> None:
        """Raise UserError unless the network has hidden layers."""
        check_layers(net)

    def rehearse(self, net: nn.Module, x: Tensor) -> None:
        """Raise UserError unless each layer gives a vector for each example."""
        check_vectors(net, x)

    def explain(self, net: nn.Module, context: Context) -> Results:
        """Compute the vectors of all layers once, train each probe, and compare them with the baselines."""
        properties = properties_of(context.task, context.classes)
        name, paths = select_property(self.property, properties), layers_of(net)
        parts = self.parts(context, properties)
        values, words = properties.values[name], properties.train.forms is not None
        nonsense = None
        if words:
            forms = 1 + max(int(items.forms.max()) for _, items in parts.values())
            nonsense = probe_baselines.control(properties.train, name, forms, len(values), context.generator)
        stored, targets = {}, {}
        for part, (split, items) in parts.items():
            layers = [vectors(each, split, items, paths).to(STORED) for each in (net, context.start)]
            stored[part], labels = torch.cat(layers, 1), [items.labels[name]]
            targets[part] = torch.stack(labels + ([nonsense[items.forms]] if words else []), 1)
        fits = self.fits(context, Examples(stored, targets, Standardise(stored["train"])), len(values))
        guess = None
        if words:
            guess = probe_baselines.lookup(properties.train, parts["test"][1], name, len(values))
        often = probe_baselines.majority(parts["train"][1], name)
        return ProbeResults(paths, self.hidden, targets, fits, guess, often).results()

    def fits(self, context: Context, examples: "Examples", values: int) -> dict[str, list[list[Fit]]]:
        """All probes: name -> [targets][layers of both networks], those of mixes by the last layer that they see."""
        count, layers = examples.targets["train"].shape[1], examples.vectors["train"].shape[1]
        fits: dict[str, list[list[Fit]]] = {}
        for size in self.hidden:
            fits[probe_name(size)] = [
                [self.fitted(context, examples.of(layer, target), size, values) for layer in range(layers)]
                for target in range(count)
            ]
        if self.mix:
            mixed = [examples.of(slice(0, layer + 1), 0) for layer in range(layers // 2)]
            fits["mix"] = [[self.mixed(context, each, values) for each in mixed]]
        return fits

    def fitted(self, context: Context, data: "Data", size: int, values: int) -> Fit:
        """One probe of a layer for a target."""
        train, development = data["train"], data["validation"]
        if not size and self.weight_decay is None:
            probe = chosen_solution(train, development, values)
        elif not size:
            probe = solution(*train, values, self.weight_decay)
        else:
            net = Perceptron(train[0].shape[1], size, values).to(train[0].device)
            return self.trained(context, net, probe_name(size), data)
        return Fit(found(probe, data), probe.steps, probe.converged, probe.decay)

    def mixed(self, context: Context, data: "Data", values: int) -> Fit:
        """One probe of a mix of layers."""
        x, _ = data["train"]
        net = Mix(x.shape[1], x.shape[2], values).to(x.device)
        fit = self.trained(context, net, "mix", data)
        return replace(fit, shares=net.weights().detach())

    def trained(self, context: Context, net: nn.Module, name: str, data: "Data") -> Fit:
        """One probe, trained until its loss on the development data falls no more; or for all epochs."""
        train, development = (split_of(*data[part]) for part in ("train", "validation"))
        settings = {"epochs": self.epochs, "batch_size": self.batch_size, "lr": self.lr, "patience": self.patience}
        settings |= {"optimizer": "adamw", "weight_decay": self.weight_decay or 0.0, "validation": HELD_OUT}
        begin_with_frequencies(net.last, train.labels)
        title = f"probe {name}"
        context.fit(net, title, EarlyStopping(development), train, **settings, schedule="constant", augment="none")
        steps = int(net.steps)
        epochs = steps // math.ceil(len(train) / self.batch_size)  # until the best one
        return Fit(found(net, data), steps, epochs + self.patience <= self.epochs, self.weight_decay or 0.0)

    def parts(self, context: Context, properties: Properties) -> dict[str, tuple[Split, Items]]:
        """Splits and items for training, for development, and for testing."""
        task, train, held_out = context.task, properties.train, properties.validation
        draws = torch.randperm(len(train), generator=context.generator).to(train.rows.device)
        if held_out is None:
            count = max(1, round(HELD_OUT * len(train)))
            held_out, draws = subset(train, draws[:count]), draws[count:]
        train = subset(train, draws[: self.train_samples])
        validation = task.train if properties.validation is None else task.validation
        return {
            "train": (task.train, train),
            "validation": (validation, held_out),
            "test": (task.test, properties.test),
        }


Data = dict[str, tuple[Tensor, Tensor]]
"""Part -> vectors [n, D] or [n, layers, D], and what is to be found [n]."""


@dataclass
class Examples:
    """What all probes learn from and are asked."""

    vectors: dict[str, Tensor]  # part -> [n, layers of both networks, D]
    targets: dict[str, Tensor]  # part -> [n, targets]
    standardise: Standardise

    def of(self, layers: int | slice, target: int) -> Data:
        """What one probe needs, standardised."""
        return {
            part: (self.standardise.layers(x, layers), self.targets[part][:, target])
            for part, x in self.vectors.items()
        }


def split_of(x: Tensor, y: Tensor) -> Split:
    """Vectors and what is to be found, for `fit`."""
    return Split(Pool(x), torch.arange(len(x), device=x.device), y, 0, nn.Identity())


def found(probe: Callable[[Tensor], Tensor], data: Data) -> dict[str, Tensor]:
    """Part -> the values [n] that a probe finds where it has not learned."""
    return {part: answers(probe, data[part][0]) for part in ("validation", "test")}


def probe_name(size: int) -> str:
    """The name of a probe of this size."""
    return f"mlp_{size}" if size else "linear"
