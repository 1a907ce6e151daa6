"""Probing classifiers on every layer, and the baselines that show where their accuracy comes from."""

from dataclasses import dataclass

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
from mlbench.explain.representation.probe_results import ProbeResults
from mlbench.explain.representation.probe_training import Mixes, Probes, Standardise, Targets, Together, answers
from mlbench.explain.representation.properties import properties_of, select_property, subset
from mlbench.runs.results import Results

STORED = torch.float16  # of vectors: a hundred thousand words in ten layers are a quarter of a gigabyte then
HELD_OUT = 0.1  # of the items, where the data has no validation set of its own


@dataclass
class Probe(Method):
    """A probe for `property` on each layer (Alain & Bengio 2016), for each of the sizes `hidden`, trained together.

    A size of 0 is a linear probe, others are hidden units of a perceptron (one layer, ReLU). `property` null takes the
    first that the data knows. Beside each probe stand the same one on the untrained network, what a word's form alone
    predicts (`lookup`: its most frequent value in training), the most frequent value of all, and the control task of
    Hewitt & Liang (2019): values drawn at random for each form, from the values' frequencies; selectivity is the
    accuracy less that of the control (their equation 1). Forms of which no value has nine tenths in training are
    ambiguous: there a lookup has to guess. Items that are no words have no form, and so neither lookup nor control.

    The best layer of each probe is chosen on validation data. `mix` adds linear probes on weighed sums of the layers 0
    to l (Tenney et al. 2019). `train_samples` is how many items at most are learned from; null takes all.
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
    weight_decay: float

    def __post_init__(self):
        sizes = self.hidden and all(size >= 0 for size in self.hidden) and len(set(self.hidden)) == len(self.hidden)
        require(bool(sizes), "hidden", self.hidden, "a list of different sizes, 0 for a linear probe")
        require(
            self.train_samples is None or self.train_samples >= 20,
            "train_samples",
            self.train_samples,
            "20 or more, or null",
        )
        for name in ("epochs", "batch_size"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        require(self.lr > 0, "lr", self.lr, "above 0")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")

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
        """Compute the vectors of all layers once, train all probes in one fit, and compare them with the baselines."""
        properties = properties_of(context.task, context.classes)
        name, paths = select_property(self.property, properties), layers_of(net)
        parts = self.parts(context, properties)
        values, words = properties.values[name], properties.train.forms is not None
        nonsense = None
        if words:
            forms = 1 + max(int(items.forms.max()) for _, items in parts.values())
            nonsense = probe_baselines.control(properties.train, name, forms, len(values), context.generator)
        splits, targets = {}, {}
        for part, (split, items) in parts.items():
            layers = [vectors(each, split, items, paths).to(STORED) for each in (net, context.start)]
            x, labels = torch.cat(layers, 1), [items.labels[name]]
            targets[part] = torch.stack(labels + ([nonsense[items.forms]] if words else []), 1)
            rows = torch.arange(len(x), device=x.device)
            standardise = splits["train"].normalise if splits else Standardise(x)
            splits[part] = Split(Pool(x), rows, rows, 0, standardise)
        probes = self.fit_probes(context, splits["train"], targets["train"], len(paths), len(values))
        predictions = {part: answers(probes, splits[part]) for part in ("validation", "test")}
        guess = None
        if words:
            guess = probe_baselines.lookup(properties.train, parts["test"][1], name, len(values))
        often = probe_baselines.majority(parts["train"][1], name)
        weights = probes["mix"].weights()[-1].detach() if self.mix else None
        return ProbeResults(paths, self.hidden, targets, predictions, guess, often, weights).results()

    def fit_probes(self, context: Context, split: Split, targets: Tensor, layers: int, values: int) -> Together:
        """All probes, trained in one fit."""
        width, count = split.pool.examples.shape[2], targets.shape[1]
        probes = {probe_name(size): Probes(count, 2 * layers, width, values, size) for size in self.hidden}
        if self.mix:
            probes["mix"] = Mixes(layers, width, values)
        net = Together(probes).to(split.rows.device)
        settings = {"epochs": self.epochs, "batch_size": self.batch_size, "lr": self.lr}
        decay = {"optimizer": "adamw", "weight_decay": self.weight_decay, "schedule": "linear", "augment": "none"}
        return context.fit(net, "probes", Targets(targets), split, **settings, **decay, patience=0)

    def parts(self, context: Context, properties: Properties) -> dict[str, tuple[Split, Items]]:
        """Splits and items for training, for choosing the best layer, and for testing."""
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


def probe_name(size: int) -> str:
    """The name of a probe of this size."""
    return f"mlp_{size}" if size else "linear"
