"""What probes found, as numbers, tables and figures."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mlbench.runs.results import Chart, Results


@dataclass
class Fit:
    """What one probe found, and how it was trained."""

    found: dict[str, Tensor]  # part -> the values [n] that it gives to validation and test items
    steps: int  # of its optimiser, until the weights were as they are
    converged: bool
    decay: float  # strength of its L2 penalty, or weight decay
    shares: Tensor | None = None  # [layers] of a mix


@dataclass
class ProbeResults:
    """The predictions of all probes and of the baselines they are compared with."""

    paths: list[str]  # of the layers
    hidden: list[int]  # sizes of the probes
    targets: dict[str, Tensor]  # part -> [n, targets]: the property, and the control's values where there are words
    fits: dict[str, list[list[Fit]]]  # probe -> [targets][2 * layers], untrained network last; mixes: [1][layers]
    guess: tuple[Tensor, Tensor] | None  # of the test items: what the form tells [n], whether it is ambiguous [n]
    often: int  # the most frequent value

    def results(self) -> Results:
        """All metrics, tables and charts."""
        results = Results("probes", HEADLINES)
        rows = [row for probe in self.probes for row in self.rows(probe)]
        results.tables["probes"] = rows
        for number, probe in enumerate(self.probes):
            prefix = f"{probe}_" if number else ""
            own = [row for row in rows if row["probe"] == probe]
            results.metrics |= {f"{prefix}{name}": value for name, value in self.summary(own).items()}
        results.metrics |= self.references()
        self.tell_unconverged(results)
        self.draw(results, rows)
        if "mix" in self.fits:
            self.mixed(results)
        return results

    def tell_unconverged(self, results: Results) -> None:
        """How many probes were not trained to the end, as a number, and in a line where there are any."""
        fits = [fit for targets in self.fits.values() for layers in targets for fit in layers]
        count = sum(not fit.converged for fit in fits)
        results.metrics["unconverged_probes"] = float(count)
        if count:
            results.notes.append(
                f"{count} of {len(fits)} probes have not converged, and their accuracies may still rise (probes.csv); "
                "try a larger explain.epochs"
            )

    @property
    def probes(self) -> list[str]:
        """Their names, in order of their sizes as given."""
        return [name for name in self.fits if name != "mix"]

    def share(self, part: str, probe: str, target: int, layer: int, among: Tensor | None = None) -> float:
        """The accuracy of one probe for one target on one layer, on the items `among` [n] bool."""
        right = self.fits[probe][target][layer].found[part] == self.targets[part][:, target]
        return right[among].double().mean().item() if among is not None else right.double().mean().item()

    def rows(self, probe: str) -> list[dict[str, object]]:
        """A row for each layer of both networks."""
        rows: list[dict[str, object]] = []
        for place in range(2 * len(self.paths)):
            network = "untrained" if place >= len(self.paths) else "trained"
            row: dict[str, object] = {"probe": probe, "network": network, "layer": place % len(self.paths)}
            row["path"] = self.paths[place % len(self.paths)]
            row["validation_accuracy"] = self.share("validation", probe, 0, place)
            row["accuracy"] = self.share("test", probe, 0, place)
            if self.guess is not None:
                row["control_accuracy"] = self.share("test", probe, 1, place)
                row["selectivity"] = row["accuracy"] - row["control_accuracy"]
                chosen = self.share("validation", probe, 1, place)
                row["validation_selectivity"] = row["validation_accuracy"] - chosen
                if self.guess[1].any():
                    row["ambiguous_accuracy"] = self.share("test", probe, 0, place, self.guess[1])
            for prefix, fits in zip(("", "control_"), self.fits[probe], strict=False):
                fit = fits[place]
                row |= {f"{prefix}steps": fit.steps, f"{prefix}converged": fit.converged}
                row[f"{prefix}weight_decay"] = fit.decay
            rows.append(row)
        return rows

    def summary(self, rows: list[dict[str, object]]) -> dict[str, float]:
        """One probe in numbers: each layer, then those of the layer with the highest accuracy on validation data.

        `untrained_accuracy` is that of the same layer; the untrained network's own best one is chosen likewise.
        """
        trained, untrained = (rows[: len(self.paths)], rows[len(self.paths) :])
        metrics, names = {}, ("accuracy", "control_accuracy", "selectivity", "ambiguous_accuracy")
        for row, other in zip(trained, untrained, strict=True):
            metrics |= {f"layer_{row['layer']}_{name}": row[name] for name in names if name in row}
            metrics[f"layer_{row['layer']}_untrained_accuracy"] = other["accuracy"]
        best = max(trained, key=lambda row: row["validation_accuracy"])
        metrics |= {name: best[name] for name in names if name in best}
        metrics |= {"best_layer": float(best["layer"]), "untrained_accuracy": untrained[best["layer"]]["accuracy"]}
        highest = max(untrained, key=lambda row: row["validation_accuracy"])
        metrics |= {"untrained_best_accuracy": highest["accuracy"], "untrained_best_layer": float(highest["layer"])}
        if "ambiguous_accuracy" in highest:
            metrics["untrained_ambiguous_accuracy"] = highest["ambiguous_accuracy"]
        return metrics

    def references(self) -> dict[str, float]:
        """Accuracies of the baselines that use no network."""
        truth = self.targets["test"][:, 0]
        metrics = {"majority_accuracy": (truth == self.often).double().mean().item()}
        if self.guess is not None:
            right, ambiguous = self.guess[0] == truth, self.guess[1]
            metrics |= {"lookup_accuracy": right.double().mean().item()}
            metrics["ambiguous_share"] = ambiguous.double().mean().item()
            if ambiguous.any():
                metrics["ambiguous_lookup_accuracy"] = right[ambiguous].double().mean().item()
        return metrics

    def draw(self, results: Results, rows: list[dict[str, object]]) -> None:
        """Accuracy and selectivity over layers, and over the size of the probe."""
        series = [
            {"series": series_name(row), "layer": row["layer"], **{name: row[name] for name in DRAWN if name in row}}
            for row in rows
        ]
        for name in ("lookup_accuracy", "majority_accuracy"):
            if name in results.metrics:
                baseline, value = name.removesuffix("_accuracy"), results.metrics[name]
                series += [{"series": baseline, "layer": layer, "accuracy": value} for layer in range(len(self.paths))]
        results.tables["accuracies"] = series
        results.charts["accuracies"] = Chart("accuracies", "layer", "accuracy", by="series")
        if self.guess is None:
            return
        selective = [each for each in series if "selectivity" in each and "untrained" not in each["series"]]
        results.tables["selectivity"] = selective
        results.charts["selectivity"] = Chart("selectivity", "layer", "selectivity", by="series")
        if len(self.hidden) > 1:
            results.tables["strength"] = self.strengths(results.metrics, rows)
            results.charts["strength"] = Chart("strength", HIDDEN, "value", by="of", log=True)

    def strengths(self, metrics: dict[str, float], rows: list[dict[str, object]]) -> list[dict[str, object]]:
        """Every size of probe on the layer that is best for the first one."""
        layer, table = metrics["best_layer"], []
        for size, probe in sorted(zip(self.hidden, self.probes, strict=True)):
            row = next(row for row in rows if (row["probe"], row["network"], row["layer"]) == (probe, "trained", layer))
            shown = {"the property": "accuracy", "control task": "control_accuracy", "selectivity": "selectivity"}
            table += [{"of": label, HIDDEN: max(1, size), "value": row[name]} for label, name in shown.items()]
        return table

    def mixed(self, results: Results) -> None:
        """The expected layer and the centre of gravity (Tenney et al. 2019, eq. 3 and 2)."""
        count = len(self.paths)
        scores = torch.tensor([self.share("test", "mix", 0, layer) for layer in range(count)], dtype=torch.float64)
        gains, depth = scores.diff(), torch.arange(count, dtype=torch.float64)
        weights = self.fits["mix"][0][-1].shares.double().cpu()
        results.metrics["centre_of_gravity"] = (depth * weights).sum().item()
        if gains.sum() != 0:
            results.metrics["expected_layer"] = ((depth[1:] * gains).sum() / gains.sum()).item()
        columns = zip(scores.tolist(), [0.0, *gains.tolist()], weights.tolist(), strict=True)
        results.tables["mix"] = [
            {"layer": layer, "accuracy": score, "gain": gain, "weight": weight}
            for layer, (score, gain, weight) in enumerate(columns)
        ]
        results.charts["mix"] = Chart("mix", "layer", "accuracy")


DRAWN = ("accuracy", "selectivity")
HEADLINES = {
    "accuracy": "high",
    "untrained_accuracy": "",
    "lookup_accuracy": "",
    "ambiguous_accuracy": "high",
    "ambiguous_lookup_accuracy": "",
    "selectivity": "high",
}
HIDDEN = "hidden units (a linear probe at 1)"


def series_name(row: dict[str, object]) -> str:
    """The name of a line."""
    name = str(row["probe"]).replace("_", " ")
    return name if row["network"] == "trained" else f"{name}, untrained network"
