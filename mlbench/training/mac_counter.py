"""The multiply-adds of forward passes, in all and layer by layer: the one counter that everything uses."""

from bisect import bisect_right
from collections import Counter, defaultdict
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mlbench.training.mac_formulas import formula, has_unknown_cost
from mlbench.training.module_hooks import hooked

ASKED = {"size", "stride", "storage_offset", "numel"}  # what a tensor is asked, which computes nothing
ASKED |= {f"sym_{name}" for name in ASKED} | {"dim", "is_contiguous", "sym_is_contiguous", "is_strides_like_format"}
ASKED |= {"is_non_overlapping_and_dense", "layout", "device"}
LOOKUPS = {"embedding", "_embedding_bag", "_embedding_bag_forward_only", "index", "index_select", "gather"}


class MacCounter:
    """Counts the multiply-adds of the forward passes of a network that run inside it.

    A multiply-add that uses a layer's own weights belongs to that layer, also where another layer calls torch with
    them; any other to the innermost layer that is being called, as the product of queries and keys belongs to the
    attention. Inside, torch's fast path of attention is off: it runs whole layers as one operator, padding left out.

    Args:
        net: The network.

    Attributes:
        total: Multiply-adds so far.
        by_layer: The same by layer: path of a module, empty for the network itself -> multiply-adds.
    """

    def __init__(self, net: nn.Module):
        self.net, self.by_layer, self.calls = net, Counter(), [""]
        self.ran: set[str] = set()  # layers that were called, or whose weights were used
        self.harmless: set[str] = set()  # names of parameters that are looked up, added or scale element by element
        self.unknown: defaultdict[str, set[str]] = defaultdict(set)  # operator without a formula -> layers
        self.owners = Owners(net)

    @property
    def total(self) -> int:
        """Multiply-adds so far."""
        return self.by_layer.total()

    def __enter__(self) -> "MacCounter":
        self.inside = ExitStack()
        handles = []
        for path, module in self.net.named_modules():
            if isinstance(module, torch.jit.ScriptModule):  # takes no hooks; its weights tell
                continue
            handles.append(module.register_forward_pre_hook(lambda *_, path=path: self.enter(path)))
            handles.append(module.register_forward_hook(lambda *_: self.leave(), always_call=True))
        self.inside.enter_context(hooked(handles))
        self.inside.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
        self.inside.enter_context(Operators(self))
        return self

    def __exit__(self, *error: object) -> None:
        self.inside.close()

    def enter(self, path: str) -> None:
        """A layer is called."""
        self.calls.append(path)
        self.ran.add(path)

    def leave(self) -> None:
        """The innermost layer is done."""
        self.calls.pop()

    def count(self, func: Any, given: tuple, named: dict[str, Any], result: Any) -> None:
        """Count an operator that has run.

        Args:
            func: The operator.
            given: Its arguments.
            named: Its named arguments.
            result: What it returned.
        """
        operator, weights = name_of(func), self.owners.weights(given, self.calls[-1])
        self.ran.update(layer for layer, _ in weights)
        if own := formula(operator):
            layer = weights[0][0] if weights else self.calls[-1]
            self.by_layer[layer] += own(given, named, result)
        elif has_unknown_cost(operator):
            self.unknown[operator].update({layer for layer, _ in weights} or {self.calls[-1]})
        elif weights and is_harmless(func, operator, given, result, len(weights)):
            self.harmless.update(name for _, name in weights)

    def gaps(self) -> list[str]:
        """What was not counted though it may multiply and add, a line each.

        Operators of unknown cost; and layers with a matrix of weights that met no multiply-add: they did not run, or
        do it element by element. Lookups and norms are as they should be.
        """
        lines = [
            f"multiply-adds of the operator {operator} are not counted, in {named(sorted(layers))}"
            for operator, layers in sorted(self.unknown.items())
        ]
        without = [
            path
            for path, module in self.net.named_modules()
            if not self.by_layer[path] and any(self.is_open(path, *own) for own in module.named_parameters("", False))
        ]
        known = set().union(*self.unknown.values())
        idle = [path for path in without if path not in self.ran]
        elementwise = [path for path in without if path in self.ran - known]
        if elementwise:
            lines.append(
                f"0 multiply-adds are counted for the weights of {named(elementwise)}: in no product torch names"
            )
        if idle:
            lines.append(f"0 multiply-adds for the weights of {named(idle)}: these outputs do not need them")
        return lines

    def is_open(self, path: str, name: str, weight: nn.Parameter) -> bool:
        """Whether a parameter of the layer at `path` is a matrix, and nothing has shown that it needs no products."""
        matrix = sum(side > 1 for side in weight.shape) > 1
        return matrix and ".parametrizations." not in path and f"{path}.{name}" not in self.harmless


class Operators(TorchDispatchMode):
    """Shows a counter every operator that torch runs, taken apart where it is made of others."""

    supports_higher_order_operators = True

    def __init__(self, counter: MacCounter):
        super().__init__()
        self.counter = counter

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Run an operator."""
        kwargs = kwargs or {}
        operator = name_of(func)
        if operator.rpartition(".")[2] in ASKED:
            return func(*args, **kwargs)
        if formula(operator) is None and hasattr(func, "decompose"):
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        self.counter.count(func, args, kwargs, result)
        return result


class Owners:
    """Which layers the parameters of a network belong to, found by where they lie, as views lie there too."""

    def __init__(self, net: nn.Module):
        places: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)
        ends: dict[int, int] = {}
        for path, module in net.named_modules():
            for name, weight in module.named_parameters("", False):
                if is_plain(weight) and weight.numel():
                    places[weight.data_ptr()].append((path, f"{path}.{name}"))
                    ends[weight.data_ptr()] = weight.data_ptr() + weight.nbytes
        self.starts = sorted(places)
        self.ends, self.names = [ends[start] for start in self.starts], [places[start] for start in self.starts]

    def weights(self, given: Any, innermost: str) -> list[tuple[str, str]]:
        """The parameters that `given` holds or views, (layer, name): of `innermost` where it shares them."""
        found = []
        for value in tree_leaves(given):
            if isinstance(value, Tensor) and is_plain(value):
                place = bisect_right(self.starts, value.data_ptr()) - 1
                if place >= 0 and value.data_ptr() < self.ends[place]:
                    owners = self.names[place]
                    found.append(next((owner for owner in owners if owner[0] == innermost), owners[0]))
        return found


def name_of(func: Any) -> str:
    """The name of an operator without its variant, `aten.mm` for one."""
    return str(getattr(func, "overloadpacket", func))


def is_plain(tensor: Tensor) -> bool:
    """Whether the tensor has a place in memory of its own."""
    plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout is torch.strided
    return plain and not tensor.is_nested and not tensor.is_meta


def is_harmless(func: Any, operator: str, given: tuple, result: Any, weights: int) -> bool:
    """Whether an operator with parameters looks them up, or lets each meet one number of the others.

    One that makes more numbers than the others were, such as [B, 1, I] times [O, I], is a product in disguise.
    """
    name = operator.rpartition(".")[2]
    if name in LOOKUPS or "norm" in name:
        return True
    tensors = [value for value in tree_leaves(given) if isinstance(value, Tensor)]
    if torch.Tag.pointwise not in getattr(func, "tags", ()) or len(tensors) == weights:
        return False
    return result.numel() <= max(tensor.numel() for tensor in tensors)


def named(layers: list[str], most: int = 3) -> str:
    """The first layers by name, and how many more there are."""
    more = f" and {len(layers) - most} more" if len(layers) > most else ""
    return ", ".join(layer or "the network itself" for layer in layers[:most]) + more
