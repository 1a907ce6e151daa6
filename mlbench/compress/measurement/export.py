"""Export to formats that other programs read: ONNX, and torch's own exported programs."""

import warnings
from pathlib import Path

import torch

from mlbench.core.errors import RunError, UserError
from mlbench.runs.checkpoint import load

TOLERANCE = 1e-4  # largest deviation of the exported network's outputs, relative to the largest output above 1
TORCH_WARNINGS = (
    r"The given buffer is not writable|`isinstance\(treespec, LeafSpec\)`"  # of torch 2.11, about its own code
)


def export(form: str, path: Path, input_shape: tuple[int, int, int], config_dirs: tuple[Path, ...] = ()) -> Path:
    """Export the network of an artefact, and verify the outputs of the written file.

    The exported network takes float pictures [B, C, H, W] with values from 0 to 255.

    Args:
        form: `onnx`, or `torch` for torch.export.
        path: The artefact; the exported file is written beside it.
        input_shape: Channels, height and width of a picture.
        config_dirs: Folders with the modules of the user's own model.

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
    write, run, suffix = FORMS[form]
    target = path.with_suffix(suffix)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=TORCH_WARNINGS)
            write(net, example, target)
            outputs = run(target, example)
    except ImportError as error:
        target.unlink(missing_ok=True)
        raise UserError(
            f"export={form} needs the package {error.name}, which is not installed; pip install 'mlbench[export]'"
        ) from error
    except Exception as error:  # exporters raise errors of any class
        target.unlink(missing_ok=True)
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise RunError(f"{path.name} cannot be exported as {form}: {reason}") from error
    difference = (outputs - expected).abs().max().item()
    if not difference <= TOLERANCE * expected.abs().max().clamp(min=1).item():  # false for NaN too
        target.unlink()
        raise RunError(f"{target} gives other outputs than {path.name}: they differ by {difference:.2g}")
    return target


def write_torch(net: torch.nn.Module, example: torch.Tensor, target: Path) -> None:
    """Write a program that plain torch loads, for any batch size."""
    batch = torch.export.Dim("batch", min=1)
    torch.export.save(torch.export.export(net, (example,), dynamic_shapes=({0: batch},)), target)


def run_torch(target: Path, example: torch.Tensor) -> torch.Tensor:
    """The outputs of such a program."""
    with torch.no_grad():
        return torch.export.load(target).module()(example)


def write_onnx(net: torch.nn.Module, example: torch.Tensor, target: Path) -> None:
    """Write an ONNX model, for any batch size."""
    batch = torch.export.Dim("batch", min=1)
    options = {
        "dynamo": True,
        "dynamic_shapes": ({0: batch},),
        "external_data": False,
    }  # the weights inside, so one file
    torch.onnx.export(net, (example,), target, verbose=False, **options)


def run_onnx(target: Path, example: torch.Tensor) -> torch.Tensor:
    """The outputs of such a model in onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: example.numpy()})[0])


FORMS = {"torch": (write_torch, run_torch, ".pt2"), "onnx": (write_onnx, run_onnx, ".onnx")}
