"""Export to formats that other programs read: ONNX, and torch's own exported programs."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mlbench.core.atomic_io import write_whole
from mlbench.core.errors import RunError, UserError, first_line
from mlbench.data.modality import PICTURES, Modality, Pictures
from mlbench.models.exported_program import METADATA
from mlbench.runs.checkpoint import load, read_network

WHITE = 255  # the largest value of a pixel as pictures are kept
TOLERANCE = 1e-4  # largest deviation of the exported network's outputs, relative to the largest output above 1
TORCH_WARNINGS = (
    r"The given buffer is not writable|`isinstance\(treespec, LeafSpec\)`"  # of torch 2.11, about its own code
)


def export(
    form: str,
    path: Path,
    input_shape: tuple[int, ...],
    config_dirs: tuple[Path, ...] = (),
    modality: Modality = PICTURES,
    largest: int = WHITE,
) -> Path:
    """Export the network of an artefact, and verify the outputs of the written file.

    The exported network normalises its inputs itself: it takes what `mlbench.load` takes, pictures [B, C, H, W] with
    values from 0 to 255 for one, as floats. The file says so (`description`).

    Args:
        form: `onnx`, or `torch` for torch.export.
        path: The artefact; the exported file is written beside it.
        input_shape: Channels, height and width of a picture, or features of a row.
        config_dirs: Folders with the modules of the user's own model.
        modality: What an example is.
        largest: What white is in the pictures that the exported network takes, 255 or 1.

    Returns:
        The written file, .onnx or .pt2.

    Raises:
        RunError: If the network cannot be exported, or the exported one has other outputs.
        UserError: If a package is missing.
    """
    net = load(path, *config_dirs[:1]).cpu().requires_grad_(False)
    example = torch.randint(0, 256, (2, *input_shape), generator=torch.Generator().manual_seed(0)).float()
    with torch.no_grad():
        expected = net(example)
    if largest != WHITE:
        net, example = nn.Sequential(Scale(WHITE / largest), net).eval(), example * (largest / WHITE)
    about = description(read_network(path), modality, largest)
    target, outputs = write_and_run(form, path, net, example, about)
    difference = (outputs - expected).abs().max().item()
    if not difference <= TOLERANCE * expected.abs().max().clamp(min=1).item():  # false for NaN too
        target.unlink()
        raise RunError(f"{target} gives other outputs than {path.name}: they differ by {difference:.2g}")
    return target


def write_and_run(form: str, path: Path, net: nn.Module, example: Tensor, about: dict[str, Any]) -> tuple[Path, Tensor]:
    """Write a network beside its artefact, and run the file: its path, and its outputs for `example` [2, ...].

    Raises RunError or UserError, as `export` does; nothing is left then.
    """
    write, run, suffix = FORMS[form]
    target = path.with_suffix(suffix)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=TORCH_WARNINGS)
            write(net, example, target, about)
            return target, run(target, example)
    except ImportError as error:
        target.unlink(missing_ok=True)
        raise UserError(
            f"export={form} needs the package {error.name}, which is not installed; pip install 'mlbench[export]'"
        ) from error
    except Exception as error:  # exporters raise errors of any class
        target.unlink(missing_ok=True)
        raise RunError(f"{path.name} cannot be exported as {form}: {first_line(error)[:200]}") from error


class Scale(nn.Module):
    """Inputs times a number."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return x * self.factor


def description(packed: dict[str, Any], modality: Modality, largest: int = WHITE) -> dict[str, Any]:
    """What is to be known to use an exported network: its metadata.

    Args:
        packed: The packed network.
        modality: What an example is.
        largest: What white is in pictures.

    Returns:
        `input` and `output`, sentences; `input_shape` of one example; `classes`, the names of the outputs in order;
        `mean` and `std`, which the network itself applies; for pictures and spectrograms `input_range`; and `crop`, the
        share of the shorter side of a photograph that is kept, where it is not all.
    """
    about = {"input_shape": packed["input_shape"], "classes": packed["classes"]}
    scale = largest / WHITE
    about |= {name: [scale * value for value in packed[name].flatten().tolist()] for name in ("mean", "std")}
    values = "as they stand in the table"
    if packed.get("crop"):
        about["crop"] = packed["crop"]
    if isinstance(modality, Pictures):
        about["input_range"] = [scale * value for value in modality.value_range]
        values = "from {:g} to {:g}".format(*about["input_range"])
    shape = ", ".join(str(side) for side in packed["input_shape"])
    inputs = f"{modality.name}, float32 [batch, {shape}], values {values}; the network normalises them by mean and std"
    outputs = "logits, float32 [batch, outputs], one for each class; softmax gives probabilities"
    return {"input": inputs, "output": outputs, **about}


def write_torch(net: nn.Module, example: Tensor, target: Path, about: dict[str, Any]) -> None:
    """Write a program that plain torch loads, for any batch size; `about` is its extra file METADATA, in JSON."""
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(net, (example,), dynamic_shapes=({0: batch},))
    torch.export.save(program, target, extra_files={METADATA: json.dumps(about)})


def run_torch(target: Path, example: Tensor) -> Tensor:
    """The outputs of such a program."""
    with torch.no_grad():
        return torch.export.load(target).module()(example)


def write_onnx(net: nn.Module, example: Tensor, target: Path, about: dict[str, Any]) -> None:
    """Write an ONNX model from `input` to `output`, for any batch size; `about` is its metadata, JSON but for texts."""
    import onnx

    batch = torch.export.Dim("batch", min=1)
    options = {
        "dynamo": True,
        "input_names": ["input"],
        "output_names": ["output"],
        "dynamic_shapes": ({0: batch},),
        "external_data": False,
    }  # the weights inside, so one file
    torch.onnx.export(net, (example,), target, verbose=False, **options)
    model = onnx.load(target)
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in about.items()}
    onnx.helper.set_model_props(model, texts)
    model.producer_name = "mlbench"
    write_whole(target, lambda stream: stream.write(model.SerializeToString()))


def run_onnx(target: Path, example: Tensor) -> Tensor:
    """The outputs of such a model in onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: example.numpy()})[0])


FORMS = {"torch": (write_torch, run_torch, ".pt2"), "onnx": (write_onnx, run_onnx, ".onnx")}
