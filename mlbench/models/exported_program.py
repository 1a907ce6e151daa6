"""Programs of torch.export (.pt2): read so that nothing in the file can run but the tensor operations it lists.

`torch.export.load` evaluates texts in the file as Python, looks operations up by name, and falls back to pickles. Here
the file is looked through first: operations are those of torch's own tensor library, texts are sums and products of
sizes, tensors are plain, and conditions on inputs, which are code, are taken out.
"""

import io
import json
import os
import re
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

METADATA = "mlbench.json"  # the extra file with what our own exports say of themselves
MODEL, CONFIGS = "/models/model.json", ("_weights_config.json", "_constants_config.json")
OPERATION = re.compile(
    r"torch\.ops\.(aten|prims)\.\w+\.\w+|_operator\.(add|sub|mul|floordiv|getitem|eq|ne|lt|le|gt|ge)"
)
SIZE = re.compile(r"(Symbol\('\w+'(, (positive|integer|nonnegative)=True)*\)|\w+\(|[\d+*/,() -])*")
FUNCTIONS = {"Max", "Min", "Mod", "FloorDiv", "CeilDiv", "Integer", "Symbol"}
ONLY_WEIGHTS = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}


def read_program(raw: bytes) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a program, without its weights' gradients, and what its metadata says.

    Raises ValueError for what could run code, and an error of any class for damaged files.
    """
    checked = without_code(raw)
    found = {METADATA: ""}
    with warnings.catch_warnings(), patch.dict(os.environ, ONLY_WEIGHTS):
        warnings.simplefilter("ignore")
        net = torch.export.load(io.BytesIO(checked), extra_files=found).module()
    about = json.loads(found[METADATA]) if found[METADATA] else {}
    return net.requires_grad_(False), about if isinstance(about, dict) else {}


def without_code(raw: bytes) -> bytes:
    """The same archive without conditions on inputs. Raises ValueError where anything else in it could run code."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as archive, zipfile.ZipFile(written, "w") as copy:
        for entry in archive.infolist():
            content = archive.read(entry)
            if entry.filename.endswith(MODEL):
                program = json.loads(content)
                check(program)
                content = json.dumps({**program, "guards_code": []}).encode()
            elif entry.filename.endswith(CONFIGS):
                payload = json.loads(content)["config"].values()
                if any(each["use_pickle"] or each["path_name"].startswith("custom_obj") for each in payload):
                    raise ValueError("it holds objects beside tensors")
            copy.writestr(entry, content)
    return written.getvalue()


def check(program: dict[str, Any]) -> None:
    """Raise ValueError for operations and texts of other kinds than those of networks."""
    for part in parts(program):
        if "inputs" in part and "target" in part and not OPERATION.fullmatch(str(part["target"])):
            raise ValueError(f"it calls {part['target']}, which is no operation on tensors")
        if "expr_str" in part and not is_size(part["expr_str"]):
            raise ValueError(f"it holds the expression {str(part['expr_str'])[:60]!r}, which is no size")


def is_size(text: object) -> bool:
    """Whether a text is a sum or product of sizes, such as 2*s0 or FloorDiv(s0, 4)."""
    if not isinstance(text, str) or not SIZE.fullmatch(re.sub(r"\b[su]\d+\b", "1", text)):
        return False
    return set(re.findall(r"(\w+)\(", text)) <= FUNCTIONS


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """All dicts in nested dicts and lists."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from parts(part)
