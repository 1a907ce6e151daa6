"""The model of a run: built for its data, tried on examples, given the weights of a checkpoint."""

import copy
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mlbench.core.errors import UserError
from mlbench.core.instantiate import Blueprint
from mlbench.core.rng import apart
from mlbench.data.stream import Stream
from mlbench.models.build import build_model
from mlbench.runs.checkpoint import normaliser, read_network, restored
from mlbench.training.device import limit_met


def build_network(blueprint: Blueprint, name: str, stream: Stream) -> nn.Module:
    """Build a network for the examples and classes of a stream, and try it on two examples.

    Args:
        blueprint: The config node of the network.
        name: What messages call it, such as `model=mlp`.
        stream: Gives the examples and the number of outputs.

    Raises:
        UserError: When the network does not take these examples, gives other outputs, or cannot learn.
    """
    modality, shape = stream.modality, stream.input_shape
    try:
        net = build_model(blueprint, shape, stream.outputs)
    except UserError as error:
        if not modality.model_hint:
            raise
        raise UserError(f"{error}\nthis data is {modality.name}; {modality.model_hint}") from error
    with refusal(f"{name} does not take {modality.name} of {'x'.join(str(side) for side in shape)}"), torch.no_grad():
        check_outputs(net.eval()(stream.example(2)), name, stream)
    if getattr(net, "fixed", False):
        return net
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise UserError(f"{name}: all its parameters are frozen (requires_grad=False); at least one layer must learn")
    if stream.tasks[0].labelled:
        with refusal(f"{name} cannot be trained on this data"), apart(torch.device("cpu")):
            learn_once(copy.deepcopy(net), name, stream)
    return net


def learn_once(net: nn.Module, name: str, stream: Stream) -> None:
    """Take the gradient of two training examples, in training mode, in which a network may behave otherwise."""
    split = stream.tasks[0].train
    x = split.batch(split.places[:2]).x if len(split) > 1 else stream.example(2)
    outputs = net.train()(x)
    check_outputs(outputs, name, stream, " in training mode")
    outputs.float().logsumexp(1).sum().backward()


def check_outputs(outputs: Tensor, name: str, stream: Stream, when: str = "") -> None:
    """Raise UserError unless `outputs` are logits of two examples."""
    if outputs.shape != (2, stream.outputs):
        raise UserError(f"{name} gives {list(outputs.shape[1:])} outputs{when}; needed are {stream.outputs}")


@contextmanager
def refusal(what: str) -> Generator[None]:
    """Raise UserError, `what` and the reason, for an error of any class that a network raises inside.

    Errors that are the machine's stay as they are.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if limit_met(error, "cpu"):
            raise
        raise UserError(f"{what} ({reason(error)}{where(error)})") from error


def reason(error: Exception) -> str:
    """The first line of an error's message, with its class where that says more."""
    kind, lines = type(error).__name__, str(error).strip().splitlines()
    if not lines:
        return kind
    return lines[0] if isinstance(error, RuntimeError | ValueError | IndexError) else f"{kind}: {lines[0]}"


def where(error: Exception) -> str:
    """The layer inside whose forward an error arose, for a message; nothing where that is the network itself."""
    frames = (frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__))
    modules = [module for module in frames if isinstance(module, nn.Module)]
    if not modules or modules[-1] is modules[0]:
        return ""
    path = next((path for path, module in modules[0].named_modules() if module is modules[-1]), "")
    return f", in {path} ({type(modules[-1]).__name__})" if path else f", in {type(modules[-1]).__name__}"


def read_matching(path: Path, stream: Stream) -> dict[str, Any]:
    """The packed network of a checkpoint. Raises UserError where it is none, or one for other examples than these."""
    packed = read_network(path)
    if tuple(packed["input_shape"]) != stream.input_shape or packed["outputs"] != stream.outputs:
        raise UserError(f"{path} is for examples or classes of another kind")
    theirs, ours = (part.state_dict() for part in (normaliser(packed), stream.tasks[0].train.normalise))
    if any(not torch.allclose(value, ours[name].cpu()) for name, value in theirs.items()):
        raise UserError(f"{path} was trained on pictures normalised otherwise; set data.normalise as it was")
    return packed


def with_weights(
    net: nn.Module, packed: dict[str, Any], source: str, name: str, dirs: tuple[Path, ...], spelling: str | None
) -> nn.Module:
    """Give a network the structure and the weights of a checkpoint.

    Args:
        net: As the config builds it.
        packed: The content of the checkpoint.
        source: What messages call the checkpoint.
        name: The name of the model.
        dirs: The folders of the user's own modules.
        spelling: The fingerprint of the data's vocabulary, for texts.

    Raises:
        UserError: When the weights are of another model, or read another vocabulary.
    """
    if None not in (spelling, packed.get("spelling")) and packed["spelling"] != spelling:
        raise UserError(
            f"{source} reads other word pieces than those of this data\n"
            "they come from the training texts, data.vocabulary and data.tokenizer; set these as they were"
        )
    try:
        return restored(net, packed, dirs)
    except RuntimeError as error:
        settings = {key: value for key, value in packed["model"].items() if key != "_target_"}
        kind = packed["model"]["_target_"].rpartition(".")[2]
        shape = "x".join(str(side) for side in packed["input_shape"])
        raise UserError(
            f"{source} is of another model: {kind} {settings or ''} for inputs of {shape} and "
            f"{packed['outputs']} outputs\nit does not fit model={name} with this data"
        ) from error
