"""Tensors as arrays and back: numpy lacks some of torch's kinds of numbers, whose bits it can hold."""

import numpy as np
import torch
from torch import Tensor

BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # bytes of a number -> what holds its bits


def why_not_written(value: object) -> str:
    """Why an entry of a network's state cannot be written: it is no tensor, or not a dense one; empty where it can."""
    if not isinstance(value, Tensor):
        return f"is of kind {type(value).__name__}, no tensor"
    if value.layout is not torch.strided or value.is_quantized or value.is_nested:
        return "is sparse, nested or quantised by torch"
    return ""


def first_of_each(weights: dict[str, Tensor]) -> dict[str, str]:
    """The name of each tensor -> the first name of the very same numbers in memory, its own where it comes first."""
    first: dict[tuple, str] = {}
    places = {name: place(tensor) if tensor.numel() else (name,) for name, tensor in weights.items()}
    return {name: first.setdefault(where, name) for name, where in places.items()}


def place(tensor: Tensor) -> tuple:
    """Where a tensor's numbers lie, and how they are read."""
    return tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


def to_array(tensor: Tensor) -> tuple[str, np.ndarray]:
    """The kind of a tensor's numbers as torch names it, and its values, or their bits where numpy has no such kind.

    Complex numbers are pairs of real ones in a last dimension.
    """
    kind = str(tensor.dtype).removeprefix("torch.")
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    plain = torch.view_as_real(plain) if plain.is_complex() else plain
    if not hasattr(np, kind) and not tensor.is_complex():
        plain = plain.view(BITS[plain.itemsize])
    return kind, plain.contiguous().numpy()


def to_tensor(kind: str, array: np.ndarray) -> Tensor:
    """The inverse of `to_array`, with numbers of its own."""
    dtype = getattr(torch, kind)
    tensor = torch.from_numpy(np.array(array).reshape(-1)).reshape(array.shape)  # numpy's strides of nothing are odd
    return torch.view_as_complex(tensor) if dtype.is_complex else tensor.view(dtype)
