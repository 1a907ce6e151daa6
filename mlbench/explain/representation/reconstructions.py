"""What decoders give back: pictures to look at, sounds to be judged and listened to."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from mlbench.data.modality import Modality, Pictures, Spectrograms
from mlbench.data.split import Split
from mlbench.explain.base import Context
from mlbench.explain.representation.activations import whole
from mlbench.explain.representation.decoders import Deconvolution, HighwayDecoder, Judge
from mlbench.runs.results import Panel, Results, Row

STORED = torch.float16  # of features


class Settings(Protocol):
    """The settings of `Invert` that are used here."""

    width: int
    highways: int
    judge_epochs: int
    shown: int


def r_squared(decoded: Tensor, truth: Tensor) -> float:
    """R^2 of reconstructions [n, ...]: 1 is perfect, 0 no better than the mean."""
    residual, varies = (decoded - truth).double(), (truth - truth.mean(0)).double()
    return 1 - (residual.square().sum() / varies.square().sum()).item()


def chosen(split: Split, count: int) -> Tensor:
    """Indices of `count` examples at equal distances in the split."""
    return torch.linspace(0, len(split) - 1, count).round().long().to(split.labels.device)


def cells(first: Panel, decodings: dict[int, np.ndarray], paths: list[str]) -> list[Panel]:
    """Panels of the reconstructions in the order of `paths`, empty where there is none."""
    return [first, *(Panel(paths[k], decodings.get(k)) if k in decodings else Panel() for k in range(len(paths)))]


class PictureReconstruction:
    """Reconstruction of whole pictures from a layer."""

    framewise = False

    def __init__(self, method: Settings, context: Context):
        self.method, self.context = method, context

    def inputs(self, split: Split) -> Tensor:
        """[n, C, H, W]."""
        return split.batch(split.places).x

    def input_features(self, inputs: Tensor) -> Tensor:
        """The input as a layer."""
        return inputs

    def reduce(self, split: Split) -> Callable[[Tensor, Tensor], Tensor]:  # noqa: ARG002
        """Layers as they are."""
        return lambda output, index: whole(output, index).to(STORED)

    def decoder(self, features: Tensor) -> nn.Module:
        """For features [n, ...] of that shape."""
        return Deconvolution(tuple(features.shape[1:]), self.context.input_shape, self.method.width)

    def judge_accuracy(self, decoded: Tensor) -> dict[str, float]:  # noqa: ARG002
        """No classifiers are used for pictures."""
        return {}

    def examples(self, decoded: Tensor) -> Tensor:
        """The reconstructions that are drawn."""
        return decoded[chosen(self.context.test, self.method.shown)]

    def show(self, results: Results, decodings: dict[tuple[str, int], Tensor], paths: list[str]) -> Results:
        """A row for each example: the picture, then its reconstruction from each layer."""
        test = self.context.test
        truth = self.context.picture(test.batch(chosen(test, self.method.shown)).x)
        drawn = {key: self.context.picture(pictures) for key, pictures in decodings.items()}
        rows: list[Row] = []
        for number, picture in enumerate(truth):
            for network in ("trained", "untrained"):
                layers = {k: decoded[number] for (which, k), decoded in drawn.items() if which == network}
                rows.append((f"{network} network", cells(Panel("picture", picture), layers, paths)))
        results.grids["layers"] = rows
        results.arrays["layers"] = {"picture": truth} | {f"{a}_layer_{k}": each for (a, k), each in drawn.items()}
        return results


class FrameReconstruction:
    """Reconstruction of spectrograms frame by frame, which classifiers of digit and speaker then assess."""

    framewise = True

    def __init__(self, method: Settings, context: Context):
        self.method, self.context, self.task = method, context, context.task
        self.judges = {name: self.train_judge(name) for name in ("digit", "speaker") if self.all_values_trained(name)}
        split = self.task.test
        self.there = split.present(split.places, self.frames)

    @property
    def frames(self) -> int:
        """Of each example, padding included."""
        return self.context.input_shape[2]

    def all_values_trained(self, name: str) -> bool:
        """Whether every value in the test data occurs in training; otherwise it cannot be classified."""
        properties = self.task.properties
        return bool(torch.isin(properties.test.labels[name], properties.train.labels[name]).all())

    def train_judge(self, name: str) -> nn.Module:
        """A classifier of a property, trained on true spectrograms of the training data."""
        properties = self.task.properties
        labels, count = properties.train.labels[name], len(properties.values[name])
        split = replace(self.task.train.take(properties.train.rows), labels=labels)
        net = Judge(self.context.input_shape[1], count).to(labels.device)
        settings = {"epochs": self.method.judge_epochs, "batch_size": 64, "lr": 0.003, "weight_decay": 0.0}
        fixed = {"optimizer": "adam", "schedule": "linear", "augment": "none", "patience": 0}
        return self.context.fit(net, f"judge of the {name}", None, split, **settings, **fixed)

    def inputs(self, split: Split) -> Tensor:
        """All frames without padding, [n, bands]."""
        there = split.present(split.places, self.frames)
        return split.batch(split.places).x.squeeze(1).transpose(1, 2)[there]

    def input_features(self, inputs: Tensor) -> Tensor:
        """The input as a layer."""
        return inputs

    def reduce(self, split: Split) -> Callable[[Tensor, Tensor], Tensor]:
        """All frames without padding, [k, D]."""
        return lambda output, index: output[split.present(index, self.frames)].to(STORED)

    def decoder(self, features: Tensor) -> nn.Module:
        """For features [n, D]."""
        bands = self.context.input_shape[1]
        return HighwayDecoder(features.shape[1], bands, self.method.width, self.method.highways)

    def spectrograms(self, decoded: Tensor) -> Tensor:
        """Spectrograms [N, 1, bands, frames] from frames [n, bands], padded with silence."""
        silence = self.task.test.normalise(
            torch.full((1, 1, 1, 1), self.task.modality.mel.silence, device=decoded.device)
        )
        table = silence.flatten().expand(*self.there.shape, decoded.shape[1]).clone()
        table[self.there] = decoded
        return table.transpose(1, 2)[:, None]

    @torch.no_grad()
    def judge_accuracy(self, decoded: Tensor) -> dict[str, float]:
        """Accuracies of the classifiers."""
        heard, properties = self.spectrograms(decoded), self.task.properties.test
        return {
            name: (net(heard[properties.rows]).argmax(1) == properties.labels[name]).double().mean().item()
            for name, net in self.judges.items()
        }

    def examples(self, decoded: Tensor) -> Tensor:
        """The spectrograms that are drawn."""
        return self.spectrograms(decoded)[chosen(self.task.test, self.method.shown)]

    def show(self, results: Results, decodings: dict[tuple[str, int], Tensor], paths: list[str]) -> Results:
        """Spectrograms of each layer, and what they sound like; the original goes through the same Griffin-Lim."""
        index, properties = chosen(self.task.test, self.method.shown), self.task.properties
        truth, rows = self.task.test.batch(index).x, []
        for number, example in enumerate(index.tolist()):
            names = [properties.values[name][properties.test.labels[name][example]] for name in ("digit", "speaker")]
            title = "_".join([*names, str(example)])
            results.sounds[f"{title}_original"] = self.sound(truth[number], example)
            for network, mark in (("trained", ""), ("untrained", "untrained_")):
                layers = {layer: decoded[number] for (which, layer), decoded in decodings.items() if which == network}
                for layer, decoded in layers.items():
                    results.sounds[f"{title}_{mark}layer_{layer}"] = self.sound(decoded, example)
                drawn = {layer: picture(decoded) for layer, decoded in layers.items()}
                first = Panel("original", picture(truth[number]))
                rows.append((f"{names[0]}, spoken by {names[1]}; {network} network", cells(first, drawn, paths)))
        results.grids["layers"] = rows
        arrays = {f"{network}_layer_{layer}": decoded.cpu().numpy() for (network, layer), decoded in decodings.items()}
        results.arrays["layers"] = {"original": truth.cpu().numpy(), **arrays}
        return results

    def sound(self, spectrogram: Tensor, example: int) -> tuple[int, np.ndarray]:
        """(samples per second, wave [n]) without padding."""
        normalise, mel = self.task.test.normalise, self.task.modality.mel
        loud = (spectrogram * normalise.std + normalise.mean)[0, 0, :, self.there[example]]
        return mel.rate, mel.wave(loud).cpu().numpy()


def picture(spectrogram: Tensor) -> np.ndarray:
    """uint8 [1, bands, frames] of one [1, bands, frames]; light is loud."""
    low, high = -2.0, 2.5  # in standard deviations, the same for all
    grey = ((spectrogram - low) / (high - low)).clamp(0, 1) * 255
    return grey.to(torch.uint8).cpu().numpy()


FORMS: dict[type[Modality], type[PictureReconstruction] | type[FrameReconstruction]] = {
    Pictures: PictureReconstruction,
    Spectrograms: FrameReconstruction,
}
