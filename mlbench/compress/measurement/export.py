"""A compressed network in forms that other programs read: ONNX and torch's own exported programs."""

import warnings
from pathlib import Path

import torch

from mlbench.core.errors import RunError, UserError
from mlbench.runs.checkpoint import load

CLOSE = 1e-4  # how far the outputs of the exported network may be from the original's
OF_TORCH = r"The given buffer is not writable|`isinstance\(treespec, LeafSpec\)`"  # warnings of torch 2.11 about itself


def export(form: str, path: Path, input_shape: tuple[int, int, int], config_dirs: tuple[Path, ...] = ()) -> Path:
    """Write the network of an artefact beside it as `onnx` or `torch` (torch.export, .pt2), and verify it there.

    It takes pictures [B, C, H, W] with values 0..255 as floats; `config_dirs` hold the modules of a user's own model.
    Raises RunError where the network cannot be exported or gives other outputs, UserError where a package is missing.
    """
    net = load(path, *config_dirs[:1]).cpu().requires_grad_(False)
    example = torch.randint(0, 256, (2, *input_shape), generator=torch.Generator().manual_seed(0)).float()
    with torch.no_grad():
        expected = net(example)
    write, answers, suffix = FORMS[form]
    target = path.with_suffix(suffix)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=OF_TORCH)
            write(net, example, target)
            found = answers(target, example)
    except ImportError as error:
        target.unlink(missing_ok=True)
        raise UserError(
            f"export={form} needs the package {error.name}, which is not installed; pip install 'mlbench[export]'"
        ) from error
    except Exception as error:  # exporters raise whatever they stumble over
        target.unlink(missing_ok=True)
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise RunError(f"{path.name} cannot be exported as {form}: {reason}") from error
    difference = (found - expected).abs().max().item()
    if not difference <= CLOSE * expected.abs().max().clamp(min=1).item():  # not a number is not close
        target.unlink()
        raise RunError(f"{target} gives other outputs than {path.name}: they differ by {difference:.2g}")
    return target


def write_torch(net: torch.nn.Module, example: torch.Tensor, target: Path) -> None:
    """A program that plain torch loads, for any number of pictures."""
    batch = torch.export.Dim("batch", min=1)
    torch.export.save(torch.export.export(net, (example,), dynamic_shapes=({0: batch},)), target)


def read_torch(target: Path, example: torch.Tensor) -> torch.Tensor:
    """What it answers."""
    with torch.no_grad():
        return torch.export.load(target).module()(example)


def write_onnx(net: torch.nn.Module, example: torch.Tensor, target: Path) -> None:
    """A model for ONNX runtimes, for any number of pictures."""
    batch = torch.export.Dim("batch", min=1)
    form = {"dynamo": True, "dynamic_shapes": ({0: batch},), "external_data": False}  # one file, the weights inside
    torch.onnx.export(net, (example,), target, verbose=False, **form)


def read_onnx(target: Path, example: torch.Tensor) -> torch.Tensor:
    """What onnxruntime answers."""
    import onnxruntime

    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: example.numpy()})[0])


FORMS = {"torch": (write_torch, read_torch, ".pt2"), "onnx": (write_onnx, read_onnx, ".onnx")}
