"""Networks that a program has exported to be run as they are: in ONNX, or by torch.export."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mlbench.core.errors import UserError, first_line, need
from mlbench.core.foreign_files import is_onnx, kind_of_archive
from mlbench.core.input_files import read_bytes
from mlbench.core.user_path import user_path
from mlbench.models.exported_program import read_program
from mlbench.models.network_record import NetworkRecord

ONNX, PROGRAM = "a model of ONNX", "a program of torch.export (.pt2)"
GREY_OR_COLOUR = (1, 3)  # channels of pictures


class OnnxFunction(nn.Module):
    """A network in ONNX with one input and one output, run by onnxruntime.

    Args:
        session: That of onnxruntime.
    """

    def __init__(self, session: Any):
        super().__init__()
        self.session = session
        (taken,) = session.get_inputs()
        self.name, self.shape = taken.name, tuple(taken.shape)
        self.at_once = self.shape[0] if isinstance(self.shape[0], int) else None  # examples; None: any number

    def forward(self, x: Tensor) -> Tensor:
        """The outputs [B, outputs] of examples [B, ...]. Raises ValueError where gradients are asked for."""
        if torch.is_grad_enabled() and x.requires_grad:
            raise ValueError("a network in ONNX gives no gradients; explain=rise and explain=occlusion need none")
        parts = x.float().cpu().split(self.at_once or len(x))
        found = [self.session.run(None, {self.name: part.contiguous().numpy()})[0] for part in parts]
        return torch.cat([torch.from_numpy(each) for each in found]).to(x.device)


class ProgramFunction(nn.Module):
    """A program of torch.export, which has no modes: a module around it may be switched to eval mode.

    Args:
        program: What torch makes of the file.
    """

    def __init__(self, program: nn.Module):
        super().__init__()
        self.program = [program]  # in a list, it is no module inside this one

    def forward(self, x: Tensor) -> Tensor:
        """The outputs [B, outputs] of examples [B, ...]."""
        return self.program[0].to(x.device)(x.float())


@dataclass
class ExportedFunction:
    """A network as a file has it.

    Attributes:
        kind: What the file is, for messages.
        net: From examples [B, ...] as the file takes them to logits [B, outputs].
        shape: Of its inputs, the number of examples first; what may be any size is no number.
        about: The metadata, as `export` writes them: `input_shape`, `classes`, `input_range`, `crop`; empty for others.
    """

    kind: str
    net: nn.Module
    shape: tuple[Any, ...]
    about: dict[str, Any]

    @property
    def record(self) -> NetworkRecord:
        """What is to be known to use the network; the normalisation of our own exports is inside."""
        if not self.about:
            sides = [side for side in self.shape[2:] if isinstance(side, int)]
            return NetworkRecord(sides[0] if len(self.shape) == 4 and len(set(sides)) == 1 else None)
        shape, (low, high) = self.about["input_shape"], self.about.get("input_range", (0, 1))
        about = {"classes": tuple(self.about["classes"]), "crop": self.about.get("crop", 1.0)}
        if len(shape) != 3 or shape[0] not in GREY_OR_COLOUR or (low, high) not in ((0, 1), (0, 255)):
            return NetworkRecord(**about)
        return NetworkRecord(shape[-1], (0.0,) * shape[0], (255 / high,) * shape[0], **about)


class Exported(nn.Module):
    """A fixed function from examples to logits [B, outputs], which keeps the content of its file.

    One in ONNX has no gradients; a program of torch.export (.pt2) has those of its inputs.

    Args:
        input_shape: Of an example.
        outputs: Number of classes: those that it has.
        file: The .onnx or .pt2; empty where its content comes with the state.

    Raises:
        ValueError: For a file that cannot be run, and for examples or classes of another number.
    """

    fixed = True  # it has no weights that could be trained or drawn anew

    def __init__(self, input_shape: tuple[int, ...], outputs: int, file: str):
        super().__init__()
        raw = read_bytes(Path(file)) if file else b""
        self.register_buffer("program", torch.frombuffer(bytearray(raw or b"\0"), dtype=torch.uint8))
        self.function: list[nn.Module] = []  # in a list, it is no part of the state
        if raw:
            given = outputs_for_zeros(self, (2, *input_shape))
            if given.shape != (2, outputs):
                raise ValueError(f"it gives {list(given.shape[1:])} outputs, and the data needs {outputs}")

    @classmethod
    def record(cls, settings: dict[str, Any]) -> NetworkRecord:
        """What the file says of itself where mlbench has written it, of others the side of their pictures.

        Classes that nobody names are numbers.
        """
        file = user_path(settings["weights"])
        function = exported_function(read_bytes(file), str(file))
        record = function.record.changed(settings)
        if not record.classes and record.side and len(function.shape) == 4:
            outputs = outputs_for_zeros(function.net, (1, function.shape[1], record.side, record.side)).shape[1]
            record = record.changed({"classes": [str(number) for number in range(outputs)]})
        return record

    @classmethod
    def weights_file(cls, settings: dict[str, Any]) -> Path | None:
        """The file."""
        return user_path(settings["weights"])

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if not self.function:
            raw = self.program.cpu().numpy().tobytes()
            self.function.append(exported_function(raw, "the network").net)
        return self.function[0](x)

    def __getstate__(self) -> dict[str, Any]:
        """Copies make the function anew: that of onnxruntime cannot be copied."""
        return {**super().__getstate__(), "function": []}

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *others: Any) -> None:
        program = state.get(f"{prefix}program")
        if program is not None and program.dtype == torch.uint8 and program.ndim == 1:
            self.program, self.function = program.to(self.program.device, copy=True), []
        super()._load_from_state_dict(state, prefix, *others)


def outputs_for_zeros(net: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """The outputs for inputs of zeros. Raises ValueError where the network does not take them."""
    try:
        with torch.no_grad():
            return net(torch.zeros(shape))
    except Exception as error:  # a runtime's own
        sides = "x".join(str(side) for side in shape[1:])
        raise ValueError(f"it does not take inputs of {sides} ({first_line(error)[:200]})") from error


def exported_function(raw: bytes, name: str) -> ExportedFunction:
    """The network of a file's content, which messages call `name`.

    Raises UserError where it is none, where it could run code, and where a package is missing.
    """
    if is_onnx(raw):
        return onnx_function(raw, name)
    if "torch.export" not in kind_of_archive(raw):
        raise UserError(f"{name} is no network in ONNX, and no program of torch.export (.pt2)")
    try:
        net, about = read_program(raw)
        (taken,) = [node for node in net.graph.nodes if node.op == "placeholder"]
        shape = tuple(side if type(side) is int else None for side in taken.meta["val"].shape)
        return ExportedFunction(PROGRAM, ProgramFunction(net), shape, checked_metadata(about))
    except MemoryError:
        raise
    except Exception as error:  # of damaged files, and of those that are not as torch writes them
        raise UserError(f"{name}, {PROGRAM}, cannot be read ({first_line(error)[:200]})") from error


def onnx_function(raw: bytes, name: str) -> ExportedFunction:
    """The network of a file in ONNX."""
    runtime = need("onnxruntime", "export", name)
    try:
        session = runtime.InferenceSession(raw, providers=["CPUExecutionProvider"])
        function = OnnxFunction(session)
    except Exception as error:  # onnxruntime raises errors of many classes for damaged files
        raise UserError(
            f"{name} is {ONNX} that cannot be run: damaged, of another version, or of several inputs"
        ) from error
    written = session.get_modelmeta().custom_metadata_map
    known = {key: written[key] for key in ("input_shape", "classes", "crop", "input_range") if key in written}
    try:
        about = checked_metadata({key: json.loads(value) for key, value in known.items()})
    except (TypeError, ValueError, RecursionError):
        about = {}  # another program's own
    return ExportedFunction(ONNX, function, function.shape, about)


def checked_metadata(about: dict[str, Any]) -> dict[str, Any]:
    """Metadata as `export` writes them; empty where they are not there. Raises ValueError for other values."""
    if not {"input_shape", "classes"} <= about.keys():
        return {}
    shape, classes, crop = about["input_shape"], about["classes"], about.get("crop", 1.0)
    good = all(type(side) is int and side > 0 for side in shape) and all(type(name) is str for name in classes)
    numbers = [crop, *about.get("input_range", [])]
    if not good or not all(type(number) in (int, float) for number in numbers) or not 0 < crop <= 1:
        raise ValueError("metadata of other values")
    return about
