"""Networks in ONNX as `export=[onnx]` writes them: fixed functions, run by onnxruntime, that say what they take."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mlbench.core.errors import UserError, need
from mlbench.core.foreign_files import LOOKED_AT, is_onnx
from mlbench.core.input_files import not_regular, open_regular
from mlbench.runs.predictor import Inputs, Predictor


class OnnxFunction(nn.Module):
    """A network in ONNX with one input and one output, without gradients.

    Args:
        session: That of onnxruntime.
    """

    def __init__(self, session: Any):
        super().__init__()
        self.session, self.name = session, session.get_inputs()[0].name

    def forward(self, x: Tensor) -> Tensor:
        """The outputs [B, outputs] of examples [B, ...] as they are kept."""
        return torch.from_numpy(self.session.run(None, {self.name: x.float().cpu().numpy()})[0])


def is_onnx_file(path: Path) -> bool:
    """Whether a file holds a network in ONNX."""
    if not path.is_file() or not_regular(path):
        return False
    with open_regular(path) as stream:
        return is_onnx(stream.read(LOOKED_AT))


def read_onnx(path: Path) -> Predictor:
    """The network of a file, with what its metadata says of its inputs and outputs.

    Raises UserError where it cannot be read, or says nothing of them.
    """
    runtime = need("onnxruntime", "export", f"{path}")
    with open_regular(path) as stream:
        raw = stream.read()
    try:
        session = runtime.InferenceSession(raw, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises errors of many classes for damaged files
        raise UserError(
            f"{path} is a model of ONNX that onnxruntime cannot read; it is truncated, damaged, or of another version"
        ) from error
    about = session.get_modelmeta().custom_metadata_map
    try:
        shape, classes = json.loads(about["input_shape"]), json.loads(about["classes"])
        crop = json.loads(about.get("crop", "1.0"))
        known = all(type(side) is int and side > 0 for side in shape) and all(type(name) is str for name in classes)
        if not known or not 0 < crop <= 1 or len(session.get_inputs()) != 1:
            raise ValueError("other values")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path}, a model of ONNX, does not say in its metadata what it takes and gives (input_shape, classes)\n"
            "files of export=[onnx] do; run others with onnxruntime, prepared as they need it"
        ) from error
    return Predictor(nn.Identity(), OnnxFunction(session), Inputs(tuple(shape), True, crop), classes).eval()
