"""Two-dimensional embeddings of every layer, and how well the layers separate the values of a property."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from mlbench.core.errors import SettingError, UserError, need, require
from mlbench.data.modality import EVERY
from mlbench.data.stream import Task
from mlbench.explain.base import Context, Method
from mlbench.explain.representation.activations import check_layers, check_vectors, layers_of, vectors
from mlbench.explain.representation.properties import properties_of, select_property, subset
from mlbench.runs.results import Chart, Cloud, Results

FEWEST = 10  # test items
HEADLINES = {  # what tables show, and the good end
    "top_silhouette": "high",
    "top_neighbours": "high",
    "top_untrained_neighbours": "",
}


def pca(x: np.ndarray, seed: int) -> np.ndarray:
    """The two directions of largest variance."""
    return PCA(2, random_state=seed).fit_transform(x)


def tsne(x: np.ndarray, seed: int) -> np.ndarray:
    """Neighbours kept together (van der Maaten & Hinton 2008), from the PCA's 30 largest directions."""
    x = PCA(min(30, *x.shape), random_state=seed).fit_transform(x)
    return TSNE(2, init="pca", perplexity=min(30.0, (len(x) - 1) / 3), random_state=seed).fit_transform(x)


def umap(x: np.ndarray, seed: int) -> np.ndarray:
    """The same idea on a fuzzy graph (McInnes et al. 2018)."""
    from umap import UMAP

    return UMAP(n_neighbors=min(15, len(x) - 1), random_state=seed, n_jobs=1).fit_transform(x)


PICTURES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {"pca": pca, "tsne": tsne, "umap": umap}


@dataclass
class Embed(Method):
    """Test items in the space of each layer, coloured by a property and drawn by PCA and t-SNE.

    Metrics are computed in the standardised space of the layer, not in two dimensions: the silhouette (Rousseeuw 1987)
    and the share of nearest neighbours with the same value. They are compared with the same layers before training and
    with the input itself (not for texts).

    Args:
        property: Name of a property, such as class or upos; None for the first one in the data.
        samples: Number of test items, drawn by the seed.
        frequent: Maximum number of values; the most frequent ones are used.
        neighbours: Number of nearest neighbours.
        pictures: Embeddings to draw: pca, tsne, umap.
    """

    needs_classes = False
    modalities = EVERY

    property: str | None
    samples: int
    frequent: int
    neighbours: int
    pictures: list[str]

    def __post_init__(self):
        require(self.samples >= 10, "samples", self.samples, "10 or more")
        require(self.frequent >= 2, "frequent", self.frequent, "2 or more")
        require(1 <= self.neighbours < self.samples, "neighbours", self.neighbours, "1 to less than samples")
        if unknown := sorted(set(self.pictures) - set(PICTURES)):
            raise SettingError("pictures", unknown[0], f"a list of {', '.join(PICTURES)}")

    def check(self, net: nn.Module) -> None:
        """Raise UserError unless the network has hidden layers and UMAP is installed if it is used."""
        check_layers(net)
        if "umap" in self.pictures:
            need("umap", "umap", "explain.pictures=[umap]")

    def check_data(self, task: Task, classes: list[str]) -> None:
        """Raise SettingError unless the data has the property, and UserError for too few test items."""
        super().check_data(task, classes)
        properties = properties_of(task, classes)
        select_property(self.property, properties)
        if (count := len(properties.test)) < FEWEST:
            raise UserError(f"explain=embed lays out test items; there are {count}, needed are {FEWEST} or more")

    def rehearse(self, net: nn.Module, x: Tensor) -> None:
        """Raise UserError unless each layer gives a vector for each example."""
        check_vectors(net, x)

    def explain(self, net: nn.Module, context: Context) -> Results:
        """Metrics for the layers of both networks, figures for those of the trained one."""
        properties, paths, task = properties_of(context.task, context.classes), layers_of(net), context.task
        name = select_property(self.property, properties)
        labels = properties.test.labels[name]
        often = torch.bincount(labels).argsort(descending=True, stable=True)[: self.frequent]
        candidates = torch.isin(labels, often).nonzero().squeeze(1)
        order = torch.randperm(len(candidates), generator=context.generator).to(labels.device)
        items = subset(properties.test, candidates[order[: self.samples]])
        spaces = {}
        if task.modality.continuous:
            spaces["input", "trained"] = task.test.batch(items.rows).x.flatten(1)
        for which, each in (("trained", net), ("untrained", context.start)):
            layers = vectors(each, task.test, items, paths)
            spaces |= {(path, which): layers[:, number] for number, path in enumerate(paths)}
        ready = {key: StandardScaler().fit_transform(x.cpu().double().numpy()) for key, x in spaces.items()}
        return self.results(ready, items.labels[name].cpu().numpy(), properties.values[name], context)

    def results(
        self, spaces: dict[tuple[str, str], np.ndarray], labels: np.ndarray, names: list[str], context: Context
    ) -> Results:
        """Tables, charts and figures of the spaces [n, D] of (path, network)."""
        seed = context.generator.initial_seed() % 2**32
        paths = list(dict.fromkeys(path for path, _ in spaces))
        results, rows = Results("layers seen", HEADLINES), []
        for (path, network), x in spaces.items():
            numbers = {"neighbours": agreement(x, labels, min(self.neighbours, len(x) - 1))}
            if 1 < len(np.unique(labels)) < len(x):  # otherwise there is no other value to be near to
                numbers = {"silhouette": silhouette(x, labels), **numbers}
            layer = paths.index(path)
            rows.append({"network": network, "layer": layer, "path": path, **numbers})
            mark = "untrained_" if network == "untrained" else ""
            for place in (f"layer_{layer}", *(["top"] if layer == len(paths) - 1 else [])):
                results.metrics |= {f"{place}_{mark}{name}": value for name, value in numbers.items()}
        results.tables["layers"] = rows
        for name in numbers:
            results.charts[name] = Chart("layers", "layer", name, by="network")
        clouds, arrays = [], {"labels": labels, "names": np.array(names), "paths": np.array(paths)}
        for kind in self.pictures:
            points = {path: laid_out(kind, spaces[path, "trained"], seed) for path in paths}
            arrays |= {f"{kind}_{number}": points[path] for number, path in enumerate(paths)}
            titles = (f"{kind}, layer {number}: {path}" for number, path in enumerate(paths))
            clouds.append(
                [Cloud(title, points[path], labels, names) for title, path in zip(titles, paths, strict=True)]
            )
        results.arrays["embeddings"] = arrays
        if clouds:
            results.clouds["layers"] = clouds
        return results


def laid_out(kind: str, x: np.ndarray, seed: int) -> np.ndarray:
    """The standardised vectors [n, D] in two dimensions, [n, 2]; all in one point where they are all the same."""
    if not x.any():
        return np.zeros((len(x), 2))
    return PICTURES[kind](np.pad(x, ((0, 0), (0, max(0, 2 - x.shape[1])))), seed)


def silhouette(x: np.ndarray, labels: np.ndarray) -> float:
    """How much nearer items are to their own value than to the next one, -1 to 1."""
    return float(silhouette_score(x, labels))


def agreement(x: np.ndarray, labels: np.ndarray, count: int) -> float:
    """The share of each item's `count` nearest others that have its value."""
    near = NearestNeighbors(n_neighbors=count).fit(x).kneighbors(return_distance=False)  # without the item itself
    return float((labels[near] == labels[:, None]).mean())
