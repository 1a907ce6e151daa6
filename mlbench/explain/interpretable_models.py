"""Interpretable models beside the network: how much accuracy does interpretability cost?"""

import time
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier, export_text
from threadpoolctl import threadpool_limits
from torch import nn

from mlbench.core.errors import UserError, require
from mlbench.data.modality import Pictures, Tables
from mlbench.data.split import Split
from mlbench.data.stream import Task
from mlbench.explain.attribution.feature_attribution import bar_labels
from mlbench.explain.base import Context, Method
from mlbench.runs.results import Bars, Chart, Panel, Results, Row

IN_A_ROW = 10  # maps of classes
AT_ONCE = 1000  # pictures


@dataclass
class Baselines(Method):
    """Softmax regression, decision trees of growing depth and a random forest on the network's data (scikit-learn).

    Accuracy is on the test pictures; size is what a person would have to read: the weights of a linear model or a
    network, the leaves of trees. The linear model has scikit-learn's default penalty on pixels of 0 to 1, and at most
    `iterations` of its optimiser. `readable` is the depth of the tree that is written out.
    """

    modalities = (Pictures, Tables)

    depths: list[int]
    readable: int
    forest: int
    iterations: int

    def __post_init__(self):
        require(all(depth >= 1 for depth in self.depths), "depths", self.depths, "a list of numbers, 1 or more")
        require(1 <= self.readable <= 8, "readable", self.readable, "1 to 8: a tree of 8 has up to 256 leaves")
        require(self.forest >= 1, "forest", self.forest, "1 tree or more")
        require(self.iterations >= 1, "iterations", self.iterations, "1 or more")

    def check_data(self, task: Task, classes: list[str]) -> None:
        """Raise UserError unless there are two or more classes."""
        super().check_data(task, classes)
        check_classes(task.train)

    def explain(self, net: nn.Module, context: Context) -> Results:
        """The table of all models with its chart, the linear weights as maps, the small tree as a text."""
        check_classes(context.train)  # without what validation has taken
        train, test = (flat(split) for split in (context.train, context.test))
        state = int(torch.randint(0, 2**31, (), generator=context.generator))
        linear, seconds = fit(LogisticRegression(max_iter=self.iterations), train)
        rows = [table_row("linear", linear, linear.coef_.size, test, seconds)]
        trees = {}
        for depth in [*sorted({*self.depths, self.readable}), None]:
            trees[depth], seconds = fit(DecisionTreeClassifier(max_depth=depth, random_state=state), train)
            rows.append(table_row("tree", trees[depth], trees[depth].get_n_leaves(), test, seconds))
        forest, seconds = fit(RandomForestClassifier(self.forest, random_state=state), train)
        leaves = sum(tree.get_n_leaves() for tree in forest.estimators_)
        rows.append(table_row("forest", forest, leaves, test, seconds))
        weights = sum(parameter.numel() for parameter in net.parameters())
        accuracy = context.accuracy(net, context.test)
        rows.append({"model": "network", "weights_or_leaves": weights, "accuracy": accuracy})
        of = {"network": rows[-1], "forest": rows[-2], "linear": rows[0], "tree": rows[-3]}
        of["readable_tree"] = rows[1 + list(trees).index(self.readable)]
        accuracies = {f"{name}_accuracy": row["accuracy"] for name, row in of.items()}
        results = Results("other models", dict.fromkeys(accuracies, "high"), accuracies)
        results.metrics |= {f"{name}_size": float(row["weights_or_leaves"]) for name, row in of.items()}
        results.tables["baselines"] = [{**row, "depth": row.get("depth", "")} for row in rows]
        results.charts["baselines"] = Chart("baselines", "weights_or_leaves", "accuracy", by="model", log=True)
        maps = weight_maps(linear).reshape(-1, *context.input_shape)
        results.arrays["linear"] = {"weights": maps, "bias": linear.intercept_, "classes": linear.classes_}
        names = [context.classes[label] for label in linear.classes_]
        if context.task.modality.ordered:
            results.grids["linear"] = grid(maps, names)
        else:
            features = bar_labels(context.task.modality.part_names(context.input_shape))
            results.bars["linear"] = [
                Bars(name, features, each.tolist()) for name, each in zip(names, maps, strict=True)
            ]
        results.texts["tree.txt"] = tree_text(trees[self.readable], context)
        return results


def check_classes(train: Split) -> None:
    """Raise UserError where the training pictures are all of one class."""
    if len(train.labels.unique()) < 2:
        problem = f"the training pictures, {len(train)}, are all of one class"
        raise UserError(f"explain=baselines: {problem}; raise data.train_examples or take more classes")


@dataclass
class Inputs:
    """Data for models of scikit-learn.

    Attributes:
        raw: Numbers [n, D] as the task shows them, pixels of 0 to 255: trees are read in them.
        scaled: The same in a size that suits a linear model, pixels of 0 to 1.
        labels: [n].
    """

    raw: np.ndarray
    scaled: np.ndarray
    labels: np.ndarray

    def of(self, model: ClassifierMixin) -> np.ndarray:
        """The inputs of a model."""
        return self.scaled if isinstance(model, LogisticRegression) else self.raw


def flat(split: Split) -> Inputs:
    """All examples of a split."""
    chunks, modality = [split.raw(index) for index in split.chunks(AT_ONCE)], split.pool.modality
    scaled = [modality.scaled(chunk, split.normalise).flatten(1).cpu() for chunk in chunks]
    raw = [chunk.flatten(1).cpu() for chunk in chunks]
    return Inputs(torch.cat(raw).numpy(), torch.cat(scaled).numpy(), split.labels.cpu().numpy())


def fit(model: ClassifierMixin, inputs: Inputs) -> tuple[ClassifierMixin, float]:
    """The trained model, and the seconds that it took."""
    began = time.perf_counter()
    with threadpool_limits(torch.get_num_threads()), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the limit is the user's
        model.fit(inputs.of(model), inputs.labels)
    return model, time.perf_counter() - began


def table_row(name: str, model: ClassifierMixin, size: int, test: Inputs, seconds: float) -> dict[str, object]:
    """A row of the table."""
    accuracy = float((model.predict(test.of(model)) == test.labels).mean())
    depth = {"depth": model.get_depth()} if name == "tree" else {}
    return {"model": name, "weights_or_leaves": int(size), "accuracy": accuracy, **depth, "seconds": seconds}


def weight_maps(linear: LogisticRegression) -> np.ndarray:
    """A row of weights for each class; two classes share one, with opposite signs."""
    return np.concatenate([-linear.coef_, linear.coef_]) if len(linear.classes_) == 2 else linear.coef_


def grid(maps: np.ndarray, names: list[str]) -> list[Row]:
    """The weights [classes, C, H, W] of each class, channels added up: red pixels speak for it, blue ones against."""
    panels = [Panel(name, map=each.sum(0)) for name, each in zip(names, maps, strict=True)]
    rows = [panels[start : start + IN_A_ROW] for start in range(0, len(panels), IN_A_ROW)]
    return [("" if number else "linear weights of each class", row) for number, row in enumerate(rows)]


def tree_text(tree: DecisionTreeClassifier, context: Context) -> str:
    """The tree as questions about pixels or features."""
    modality = context.task.modality
    names = modality.part_names(context.input_shape)
    classes = [context.classes[label] for label in tree.classes_]
    text = export_text(tree, feature_names=names, class_names=classes, decimals=modality.decimals)
    return f"A decision tree of depth {tree.get_depth()}. {modality.value_note}\n\n{text}"
