"""What the layers of a network give: which they are, and their outputs for whole splits or single words."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mlbench.core.errors import UserError
from mlbench.data.properties import Items
from mlbench.data.split import Pool, Split
from mlbench.models.surgery import has_early_exits
from mlbench.training.module_hooks import hooked
from mlbench.training.module_modes import eval_mode

AT_ONCE = 128  # examples
PLACES = 4  # down and across
NORMS = nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.GroupNorm
Reduce = Callable[[Tensor, Tensor], Tensor]
"""(a layer's output [b, ...] for the examples at these places [b] of the split) -> what is kept of it, [k, ...]."""


def layers_of(net: nn.Module) -> list[str]:
    """The paths of the modules whose outputs are the network's layers, in order.

    A network may name them itself (`layers`). Of others it is what goes into each child with weights, batch norm apart,
    but for the first: behind ReLU and pooling, that is.
    """
    if hasattr(net, "layers"):
        return list(net.layers)
    children = list(net.named_children())
    weighted = [
        number
        for number, (_, child) in enumerate(children)
        if not isinstance(child, NORMS) and any(True for _ in child.parameters())
    ]
    return [children[number - 1][0] for number in weighted[1:]]


def check_all_reach(net: nn.Module) -> None:
    """Raise UserError for a network whose layers do not see all examples."""
    if has_early_exits(net):
        problem = "this explanation looks into layers, and examples leave this network early"
        raise UserError(f"{problem}; take one as it was before compress=early_exit, or a map like saliency")


def check_layers(net: nn.Module) -> None:
    """Raise UserError where there is no layer to look into."""
    check_all_reach(net)
    if not layers_of(net):
        raise UserError("the network has no layers between input and output to look into; take another model")


def check_vectors(net: nn.Module, x: Tensor) -> None:
    """Raise UserError where a layer's output for inputs `x` [B, ...] is nothing that `examples` makes a vector of."""
    split = Split(Pool(x), torch.arange(len(x)), torch.zeros(len(x), dtype=torch.int64), 0, nn.Identity())
    for path, output in activations(net, split, layers_of(net)).items():
        if output.dim() not in (2, 3, 4) or len(output) != len(x):
            raise UserError(f"layer {path} gives {list(output.shape)} for {len(x)} examples, no vector for each")


def whole(output: Tensor, index: Tensor) -> Tensor:  # noqa: ARG001
    """A layer's output as it is."""
    return output


def activations(net: nn.Module, split: Split, paths: list[str], reduce: Reduce = whole) -> dict[str, Tensor]:
    """The outputs of these layers for all examples of `split`, in eval mode, each reduced a chunk at a time."""
    outputs: dict[str, list[Tensor]] = {path: [] for path in paths}
    latest: dict[str, Tensor] = {}

    def keep(path: str) -> Callable:
        def hook(module: nn.Module, inputs: object, output: Tensor | tuple) -> None:  # noqa: ARG001
            latest[path] = output if isinstance(output, Tensor) else output[0]

        return hook

    hooks = [net.get_submodule(path).register_forward_hook(keep(path)) for path in paths]
    with hooked(hooks), eval_mode(net), torch.no_grad():
        for index in split.chunks(AT_ONCE):
            latest.clear()
            net(split.batch(index).x)
            for path in paths:
                if path not in latest:
                    raise UserError(f"layer {path} is not reached by all examples, so it cannot be looked into")
                outputs[path].append(reduce(latest[path].detach(), index).clone())
    return {path: torch.cat(parts) for path, parts in outputs.items()}


def vectors(net: nn.Module, split: Split, items: Items, paths: list[str]) -> Tensor:
    """What each layer gives for each item, [n, layers, D]; shorter ones have zeros at the end.

    The items are of `split`, unless they have one of their own.
    Of a word it is the mean over its pieces, of a sound over the frames that are there; maps of a picture are made
    PLACES x PLACES coarse.
    """
    split = items.split or split
    reduce = words(items) if items.spans is not None else examples(split)
    outputs = activations(net, split, paths, reduce)
    width = max(each.shape[1] for each in outputs.values())
    stacked = torch.stack([nn.functional.pad(each, (0, width - each.shape[1])) for each in outputs.values()], 1)
    if items.spans is None:
        return stacked[items.rows]
    return stacked[items.rows.argsort(stable=True).argsort()]  # `words` gives them in the order of their sentences


def words(items: Items) -> Reduce:
    """The mean [k, D] over the pieces of each word in these sentences, in the order of the sentences."""
    order = items.rows.argsort(stable=True)
    rows, spans = items.rows[order], items.spans[order]

    def reduce(output: Tensor, index: Tensor) -> Tensor:
        first, last = torch.searchsorted(rows, torch.stack([index[0], index[-1] + 1])).tolist()
        row, (start, end) = rows[first:last] - index[0], spans[first:last].unbind(1)
        sums = nn.functional.pad(output.float().cumsum(1), (0, 0, 1, 0))  # [b, L + 1, D]
        return (sums[row, end] - sums[row, start]) / (end - start)[:, None]

    return reduce


def examples(split: Split) -> Reduce:
    """The mean [b, D] over what there is of each example."""

    def reduce(output: Tensor, index: Tensor) -> Tensor:
        if output.dim() == 2:
            return output
        if output.dim() == 4:
            sides = [min(side, PLACES) for side in output.shape[2:]]
            return nn.functional.adaptive_avg_pool2d(output, sides).flatten(1)
        there = split.present(index, output.shape[1]).unsqueeze(2)
        return (output * there).sum(1) / there.sum(1)

    return reduce
