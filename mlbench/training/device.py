"""Which device and how many threads a run takes."""

import os

import joblib
import torch
from torch import Tensor, nn

from mlbench.core.errors import UserError
from mlbench.training.mac_counter import MacCounter
from mlbench.training.module_modes import eval_mode

THREADING_PAYS = 3e8  # multiply-adds of a batch's forward pass; below, threads cost more than they bring


def choose_device(name: str) -> torch.device:
    """`auto` takes CUDA where it is there, else the CPU. Raises UserError for a device this machine has not."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UserError(f"device={name}: allowed is auto|cpu|cuda|cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device={name}: this machine has no CUDA that torch can use; take device=cpu or device=auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device={name}: this machine has {torch.cuda.device_count()} CUDA device(s), from cuda:0")
    return device


def make_deterministic(wanted: bool) -> None:
    """Let torch use only algorithms that give the same result every time.

    It then raises RuntimeError for an operation that has none (`limit_met`), some on CUDA.
    """
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it before its first call
    if wanted != torch.are_deterministic_algorithms_enabled():  # the call imports torch's compiler, which takes seconds
        torch.use_deterministic_algorithms(wanted)


def limit_met(error: BaseException, device: str) -> str:
    """What to tell of an error that is the machine's (memory, deterministic algorithms); empty for other errors."""
    operation, undeterministic, _ = str(error).partition(" does not have a deterministic implementation")
    if undeterministic:
        advice = "take deterministic=false, or device=cpu, where most operations have one"
        return f"{operation} has no deterministic implementation; {advice}"
    full = "out of memory" in str(error) or "can't allocate memory" in str(error)
    if full or isinstance(error, MemoryError):
        return f"out of memory on device={device}; try a smaller train.batch_size, model or memory_total"
    return ""


def choose_threads(wanted: int | str, net: nn.Module, example: Tensor, batch_size: int) -> int:
    """`auto`: one thread for small networks, where two are slower than one on a busy machine; else all cores, or
    $OMP_NUM_THREADS, which is a job's share of them in a sweep.

    `example` [1, ...] is what the network takes.
    """
    if wanted != "auto":
        return int(wanted)
    with eval_mode(net), MacCounter(net) as counter, torch.no_grad():
        net(example)
    if counter.total * batch_size < THREADING_PAYS:
        return 1
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    cores = joblib.cpu_count()
    return min(cores, int(allowed)) if allowed.isdigit() and int(allowed) else cores
