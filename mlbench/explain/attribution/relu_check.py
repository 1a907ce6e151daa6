"""A check that every ReLU is a module of its own, for methods that change the backward pass of nn.ReLU."""

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mlbench.core.errors import UserError
from mlbench.training.module_hooks import hooked

aten = torch.ops.aten
ALWAYS = {aten.relu, aten.relu_}
FROM_ZERO = {aten.clamp_min, aten.clamp_min_, aten.clamp, aten.clamp_, aten.threshold, aten.threshold_}
FROM_ZERO |= {aten.hardtanh, aten.hardtanh_}  # ReLUs when the first number is 0


class Count(TorchDispatchMode):
    """Counts all ReLUs that are computed, by modules or functions."""

    def __init__(self):
        super().__init__()
        self.relus = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """One operation."""
        kind, kwargs = func.overloadpacket, kwargs or {}
        if kind in ALWAYS:
            self.relus += 1
        elif kind in FROM_ZERO:
            lowest = args[1] if len(args) > 1 else kwargs.get("min", kwargs.get("min_val"))
            self.relus += not isinstance(lowest, Tensor) and lowest == 0
        return func(*args, **kwargs)


def check_relus(net: nn.Module, x: Tensor, what: str) -> None:
    """Raise UserError where the network has ReLUs that hooks on modules miss, or a module that is one twice."""
    calls: dict[str, int] = {}
    hooks = []
    for path, module in net.named_modules():
        if isinstance(module, nn.ReLU):
            calls[path] = 0

            def record(module: nn.Module, inputs: object, output: Tensor, path: str = path) -> None:  # noqa: ARG001
                calls[path] += 1

            hooks.append(module.register_forward_hook(record))
    with hooked(hooks), Count() as count, torch.enable_grad():  # no fused inference paths: their ReLUs go unseen
        net(x)
    advice = f"{what} would be wrong without a word; give each ReLU an nn.ReLU of its own"
    if shared := [path for path, times in calls.items() if times > 1]:
        raise UserError(f"the network uses its ReLU {shared[0]} {calls[shared[0]]} times, and\n{advice}")
    if missed := count.relus - sum(calls.values()):
        raise UserError(
            f"the network computes {missed} ReLU(s) outside of nn.ReLU modules, as F.relu does, and\n{advice}"
        )
