"""A rehearsal of a compression method: its first step, its result's way to a file and back, and its export."""

import copy
import re
import tempfile
from pathlib import Path

import torch
from torch import nn

from mlbench.compress.base import Method, Point, model_config
from mlbench.compress.measurement.export import export
from mlbench.core.errors import RunError, SettingError, UserError
from mlbench.data.stream import Stream
from mlbench.experiment.checked_config import CheckedConfig
from mlbench.experiment.rehearsal import Rehearsal, rehearsal, shortened
from mlbench.runs.checkpoint import Trained, restored
from mlbench.runs.codec import container

COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # that exporters put in their messages
TOLERANCE = 1e-3  # of outputs, beside their own size


def rehearse(config: CheckedConfig, stream: Stream, net: nn.Module) -> None:
    """Take the first step of each stage on a copy of the network; rebuild and export what comes out.

    Raises:
        UserError: Where a stage cannot change this network, or its result cannot be rebuilt or exported.
    """
    if not len(stream.tasks[0].train) or not len(stream.tasks[0].test):
        return  # which is refused where the data are looked at
    name = config.technique_name
    with rehearsal(name):
        context, point = Rehearsal(config, stream, net), Point("dense", copy.deepcopy(net).eval())
        for number, (stage, method) in enumerate(config.technique.parts()):
            point = first_step(method, point, context, f"{name}, stage {stage}:" if number else "")
            check_rebuilt(name, point, context)
        for form in config.settings.export:
            rehearse_export(form, point, context)


def first_step(method: Method, point: Point, context: Rehearsal, stage: str) -> Point:
    """The first point of a method, or the one before where it has none. Raises UserError."""
    method = shortened(method)
    if stage:  # the first has been checked
        try:
            method.check(point.net)
        except (SettingError, UserError) as error:
            raise UserError(f"{stage} {error}") from error
    return next(iter(method.compress(point, context)), point)


@torch.no_grad()
def check_rebuilt(name: str, point: Point, context: Rehearsal) -> None:
    """Raise UserError unless the network that is built from what is written of the point gives the same outputs."""
    again = restored(context.build(point.blueprint), packed(point, context), context.config.dirs)
    outputs = []
    for net in (again.eval(), point.net.eval()):
        torch.manual_seed(0)  # a network may draw also in eval mode
        outputs.append(net(context.stream.example(2)))
    if not torch.allclose(*outputs, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
        raise UserError(f"{name} cannot be used with this network: rebuilt from its file it gives other outputs")


def packed(point: Point, context: Rehearsal) -> dict:
    """What is written of a point."""
    stream = context.stream
    model = model_config(point) or context.config.model.architecture
    about = (stream.input_shape, stream.outputs, stream.classes, stream.scenario, context.normalise)
    return Trained(point.net, model, *about).packed()


def rehearse_export(form: str, point: Point, context: Rehearsal) -> None:
    """Export the network of a point to a folder that goes. Raises UserError where it cannot be exported."""
    stream, config = context.stream, context.config
    with tempfile.TemporaryDirectory(prefix="mlbench-") as folder:
        path = Path(folder) / "untrained.mlb"
        container.write(path, packed(point, context), False)
        try:
            export(form, path, stream.input_shape, config.dirs, stream.modality, config.settings.export_range)
        except RunError as error:
            told = COLOURS.sub("", str(error)).removeprefix(f"{path.name} ")
            raise UserError(f"{config.technique_name} with export={form}: the result {told}") from error
