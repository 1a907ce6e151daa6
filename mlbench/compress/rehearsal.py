"""A rehearsal of a method on the untrained network, before anything is trained or written."""

import copy
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import nn

from mlbench.compress.base import Point
from mlbench.compress.measurement.export import export
from mlbench.core.errors import RunError, UserError
from mlbench.core.rng import apart
from mlbench.data.split import Split
from mlbench.data.stream import Stream
from mlbench.experiment.checked_config import CheckedConfig
from mlbench.experiment.model_setup import refusal
from mlbench.models.surgery import restore
from mlbench.runs.checkpoint import Trained
from mlbench.runs.codec import container
from mlbench.training.compute import Compute

EXAMPLES = 4
COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # that exporters put in their messages


@dataclass
class Rehearsal:
    """The `Context` of a rehearsal: a few examples, draws of its own, and fits that train nothing."""

    config: CheckedConfig
    stream: Stream
    net: nn.Module

    def __post_init__(self):
        split = self.stream.tasks[0].train
        few = split.places[:EXAMPLES]
        task = split.task if isinstance(split.task, int) else split.task[few]
        few = Split(split.pool, split.rows[few], split.labels[few], task, split.normalise, split.transform)
        self.train = self.whole = self.validation = few
        self.dropped: list[int] = []
        self.training, self.compute = self.config.training, Compute()
        self.generator, self.start = torch.Generator().manual_seed(0), copy.deepcopy(self.net).eval()
        self.input_shape, self.outputs = self.stream.input_shape, self.stream.outputs
        self.classes = self.stream.classes

    def fit(self, net: nn.Module, *about: object, **changes: object) -> nn.Module:  # noqa: ARG002
        """The network as it is, in eval mode."""
        return net.eval()


def rehearse(config: CheckedConfig, stream: Stream, net: nn.Module) -> None:
    """Take a method's first step on a copy of the network, rebuild what it makes as from its file, and export it.

    The random numbers of the run stay as they are.

    Raises:
        UserError: Where the method cannot change this network, or its result cannot be rebuilt or exported.
    """
    name = f"compress={config.names['compress']}"
    with apart(torch.device("cpu"), 0), refusal(f"{name} cannot change this network"):
        changed = copy.deepcopy(net).eval()
        method = copy.deepcopy(config.technique)
        point = next(iter(method.compress(Point("dense", changed), Rehearsal(config, stream, net))))
        again = copy.deepcopy(net)
        restore(again, getattr(point.net, "replaced", None) or {})
        again.load_state_dict(point.net.state_dict())
        x = stream.example(2)
        with torch.no_grad():
            if not torch.allclose(again.eval()(x), point.net.eval()(x), rtol=1e-3, atol=1e-3, equal_nan=True):
                raise UserError(f"{name} cannot change this network: rebuilt from its file it gives other outputs")
        for form in config.settings.export:
            rehearse_export(form, config, stream, point.net)


def rehearse_export(form: str, config: CheckedConfig, stream: Stream, net: nn.Module) -> None:
    """Export a network to a folder that goes. Raises UserError where it cannot be exported."""
    model = OmegaConf.to_container(config.composed.model, resolve=True)
    about = (stream.input_shape, stream.outputs, stream.classes, stream.scenario, stream.tasks[0].train.normalise)
    with tempfile.TemporaryDirectory(prefix="mlbench-") as folder:
        path = Path(folder) / "untrained.mlb"
        container.write(path, Trained(net, model, *about).packed(), False)
        try:
            export(form, path, stream.input_shape, config.dirs)
        except RunError as error:
            told = COLOURS.sub("", str(error)).removeprefix(f"{path.name} ")
            raise UserError(f"compress={config.names['compress']} with export={form}: the result {told}") from error
