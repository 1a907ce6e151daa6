"""Reconstruction of the input from each layer: what cannot be reconstructed, the layer has discarded."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlbench.core.errors import UserError, require
from mlbench.data.modality import Pictures, Spectrograms
from mlbench.data.split import Pool, Split
from mlbench.data.stream import Task
from mlbench.explain.base import Context, Method
from mlbench.explain.representation.activations import activations, check_layers, layers_of
from mlbench.explain.representation.decoders import Rebuild, outputs
from mlbench.explain.representation.probe_training import Standardise
from mlbench.explain.representation.reconstructions import FORMS, STORED, r_squared
from mlbench.runs.results import Chart, Results

INPUT = "input"
HEADLINES = {  # what tables show, and the good end
    "top_r2": "high",
    "top_untrained_r2": "",
    "top_digit": "high",
    "top_speaker": "",
    "top_untrained_speaker": "",
}


@dataclass
class Invert(Method):
    """A decoder for each layer reconstructs the input (Dosovitskiy & Brox 2016; Li, Yuan & Lee 2020 for speech).

    Layer 0 is the input itself. Each frame of a sound is decoded separately by a highway network, without padding; the
    layers of pictures are decoded as a whole by transposed convolutions. R^2 = 1 - residual / variance around the mean
    of each band or pixel, on test data. Classifiers of digit and speaker, trained on true spectrograms, measure what a
    reconstruction retains of either; the speaker is left out if test speakers do not occur in training. All is compared
    with the network before training.

    Args:
        train_samples: Number of training examples for the decoders; None for all.
        width: Width of the hidden layers of the decoders.
        highways: Number of highway layers in the decoder of frames.
        epochs: Training epochs of each decoder.
        judge_epochs: Training epochs of each classifier.
        batch_size: Examples in each step.
        lr: Learning rate.
        shown: Number of test examples that are drawn and, for sounds, written as audio files.
    """

    modalities = (Pictures, Spectrograms)

    train_samples: int | None
    width: int
    highways: int
    epochs: int
    judge_epochs: int
    batch_size: int
    lr: float
    shown: int

    def __post_init__(self):
        require(
            self.train_samples is None or self.train_samples >= 2,
            "train_samples",
            self.train_samples,
            "2 or more, or null",
        )
        for name in ("width", "epochs", "judge_epochs", "batch_size", "shown"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        require(self.highways >= 0, "highways", self.highways, "0 or more")
        require(self.lr > 0, "lr", self.lr, "above 0")

    def check(self, net: nn.Module) -> None:
        """Raise UserError unless the network has hidden layers."""
        check_layers(net)

    def check_data(self, task: Task, classes: list[str]) -> None:
        """R^2 needs test examples that vary."""
        super().check_data(task, classes)
        if len(task.test) < 2:
            raise UserError("explain=invert measures how test examples vary; needed are 2 or more")
        self.framewise = FORMS[type(task.modality)].framewise

    def rehearse(self, net: nn.Module, x: Tensor) -> None:
        """Raise UserError unless layers for sounds give a vector for each frame."""
        if not self.framewise:
            return
        split = Split(Pool(x), torch.arange(len(x)), torch.zeros(len(x), dtype=torch.int64), 0, nn.Identity())
        for path, output in activations(net, split, layers_of(net)).items():
            if output.dim() != 3 or output.shape[1] != x.shape[3]:
                raise UserError(
                    f"layer {path} gives {list(output.shape[1:])}, no vector for each frame; take model=speech"
                )

    def explain(self, net: nn.Module, context: Context) -> Results:
        """Train a decoder for each layer of both networks and evaluate the reconstructions."""
        task, paths = context.task, layers_of(net)
        order = torch.randperm(len(task.train), generator=context.generator)[: self.train_samples].sort().values
        parts = {"train": task.train.take(order.to(task.train.labels.device)), "test": task.test}
        kind = FORMS[type(task.modality)](self, context)
        targets = {part: kind.inputs(split) for part, split in parts.items()}
        rows, decodings = [], {}
        for network, each in (("trained", net), ("untrained", context.start)):
            features = {part: activations(each, split, paths, kind.reduce(split)) for part, split in parts.items()}
            if network == "trained":
                features = {
                    part: {INPUT: kind.input_features(targets[part]), **output} for part, output in features.items()
                }
            for path in features["train"]:
                layer = 0 if path == INPUT else 1 + paths.index(path)
                decoder = kind.decoder(features["train"][path])
                output = self.decoded(
                    context, decoder, {part: features[part][path] for part in parts}, targets["train"]
                )
                scores = {"r2": r_squared(output, targets["test"]), **kind.judge_accuracy(output)}
                rows.append({"network": network, "layer": layer, "path": path, **scores})
                decodings[network, layer] = kind.examples(output)
        return kind.show(self.results(rows), decodings, [INPUT, *paths])

    def decoded(self, context: Context, decoder: nn.Module, features: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Outputs for the test features of a decoder trained on the training features [n, ...]."""
        standardise = Standardise(features["train"])
        splits = {}
        for part, x in features.items():
            rows = torch.arange(len(x), device=x.device)
            splits[part] = Split(Pool(x.to(STORED)), rows, rows, 0, standardise)
        settings = {"epochs": self.epochs, "batch_size": self.batch_size, "lr": self.lr, "weight_decay": 0.0}
        decoder = decoder.to(targets.device)
        fixed = {"optimizer": "adam", "schedule": "linear", "augment": "none", "patience": 0}
        context.fit(decoder, "decoder", Rebuild(targets), splits["train"], **settings, **fixed)
        return outputs(decoder, splits["test"])

    def results(self, rows: list[dict[str, object]]) -> Results:
        """Metrics and charts from the rows of the table."""
        results = Results("layers given back", HEADLINES, tables={"layers": rows})
        top = rows[-1]["layer"]
        names = [name for name in ("r2", "digit", "speaker") if name in rows[0]]
        for row in rows:
            mark = "untrained_" if row["network"] == "untrained" else ""
            for place in (f"layer_{row['layer']}", *(["top"] if row["layer"] == top else [])):
                results.metrics |= {f"{place}_{mark}{name}": row[name] for name in names}
        results.charts |= {name: Chart("layers", "layer", name, by="network") for name in names}
        return results
