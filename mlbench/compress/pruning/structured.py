"""Structured pruning: neurons and channels are removed, which leaves an ordinary smaller network."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from mlbench.compress.base import Context, Finetuned, Point
from mlbench.compress.pruning.inner_width import inner_pairs, remove
from mlbench.compress.pruning.neuron_importance import IMPORTANCES, Importance, outputs
from mlbench.core.errors import UserError, need, require
from mlbench.models.surgery import can_be_described, has_early_exits, note_sizes, replace
from mlbench.training.module_hooks import hooked
from mlbench.training.module_modes import unfrozen
from mlbench.training.per_example_gradients import Looks

INSTANCE_NORMS = nn.modules.instancenorm._InstanceNorm
UPWARDS = (nn.ConvTranspose1d, nn.ConvTranspose2d)  # their own channels stay; their inputs follow the layer before
NORMS = (nn.modules.batchnorm._BatchNorm, INSTANCE_NORMS, nn.GroupNorm, nn.LayerNorm)
FOLLOWED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.PReLU, *UPWARDS, *NORMS)


@dataclass
class PruneNeurons(Finetuned):
    """Remove neurons and channels from every layer but the output layer.

    Layers whose outputs are added at a shortcut lose the same channels, by the mean of their scores; torch-pruning's
    dependency graph (Fang et al. 2023) finds them. With half of the channels a quarter of the weights between two
    layers is left. Of networks in which channels cannot be followed, transformers for one, the neurons inside the
    feed-forward blocks are removed (inner_width.py), and all else stays.

    Args:
        fraction: Share of each layer's original neurons or channels that is left at the end.
        rounds: Rounds of pruning and fine-tuning.
        importance: Score of a neuron; the lowest are removed.
        samples: Training examples for the scores.
    """

    fraction: float
    rounds: int
    importance: Literal["l1", "l2", "apoz", "taylor", "bn_scale", "random"]
    samples: int

    def __post_init__(self):
        super().__post_init__()
        require(0 < self.fraction < 1, "fraction", self.fraction, "above 0 and below 1, the share that is left")
        require(self.rounds >= 1, "rounds", self.rounds, "1 or more")
        require(self.samples >= 1, "samples", self.samples, "1 or more")

    def check(self, net: nn.Module) -> None:
        """Raise UserError for early exits, for a network without hidden neurons, and without torch-pruning."""
        if has_early_exits(net):
            raise UserError(
                "compress=prune_neurons: examples leave this network early; prune before compress=early_exit"
            )
        if len(outputs(net)) < 2:
            raise UserError("compress=prune_neurons: the network has no neurons or channels beside its outputs")
        need("torch_pruning", "compress", "compress=prune_neurons")

    def changed(self, net: nn.Module) -> dict[str, nn.Parameter]:
        """All weights; where channels cannot be followed those of layers that widen, and of the ones behind them."""
        every = super().changed(net)
        return {name: every[name] for name in widening(net) if name in every} if unfollowed(net) else every

    def compress(self, dense: Point, context: Context) -> Iterator[Point]:
        """Yield a point after each round."""
        yield from self.inside(dense, context) if unfollowed(dense.net) else self.everywhere(dense, context)

    def inside(self, dense: Point, context: Context) -> Iterator[Point]:
        """Remove inner neurons of pairs of layers."""
        net, x = dense.net.eval(), context.train.batch(context.train.places[:2]).x
        if not (pairs := inner_pairs(net, x)):
            reason = f"channels cannot be followed through {', '.join(unfollowed(net))}"
            raise UserError(f"compress=prune_neurons: {reason}; compress=prune and low_rank take this network")
        counts = {first: len(net.get_submodule(first).weight) for first, _ in pairs}
        for number in range(1, self.rounds + 1):
            scores = IMPORTANCES[self.importance](net, context, self.samples)
            left = 1 - (1 - self.fraction) * number / self.rounds
            for first, second in pairs:
                one, other = net.get_submodule(first), net.get_submodule(second)
                count = max(1, round(counts[first] * left))
                remove(one, other, scores[one].topk(count).indices.sort().values)
            for path in (path for pair in pairs for path in pair):
                replace(net, path, net.get_submodule(path))  # these alone: other layers may share their weights
            net = self.finetune(net, context, f"{left:.3g} of the inner neurons")
            yield Point(f"prune_neurons {left:.3g}", net, dense.entropy, dense.blueprint)

    def everywhere(self, dense: Point, context: Context) -> Iterator[Point]:
        """Remove channels wherever torch-pruning follows them to."""
        from torch_pruning import BasePruner

        net = dense.net.eval()
        learns = {name: parameter.requires_grad for name, parameter in net.named_parameters()}
        before = odd_shapes(net)
        example = torch.zeros(2, *context.input_shape, device=context.train.labels.device)
        check_reached(net, example)
        scores: Importance = {}
        with unfrozen(list(net.parameters())):  # torch-pruning follows gradients through the network
            upwards = [module for module in net.modules() if isinstance(module, UPWARDS)]
            pruner = BasePruner(
                net,
                example,
                importance=lambda group: group_score(group, scores),
                pruning_ratio_dict={layer: self.pruning_ratio(len(layer.weight)) for layer in outputs(net)},
                iterative_steps=self.rounds,
                ignored_layers=[*output_layers(net, example), *upwards],
            )
        for number in range(1, self.rounds + 1):
            scores.clear()
            scores.update(IMPORTANCES[self.importance](net, context, self.samples))
            pruner.step()
            for name, parameter in net.named_parameters():
                parameter.requires_grad_(learns[name])
            note_sizes(net, [path for path, shapes in odd_shapes(net).items() if shapes != before[path]])
            left = 1 - (1 - self.fraction) * number / self.rounds
            net = self.finetune(net, context, f"{left:.3g} of the channels")
            yield Point(f"prune_neurons {left:.3g}", net, dense.entropy, dense.blueprint)

    def pruning_ratio(self, count: int) -> float:
        """The pruning ratio of a layer with `count` channels, such that at least one is left.

        torch-pruning keeps int(count * (1 - ratio)) channels: with ratio 0.9, 10 * (1 - 0.9) is 0.9999 and becomes 0,
        and a layer that would lose every channel is not pruned at all. Adding half a channel avoids both.
        """
        return 1 - (max(1, round(count * self.fraction)) + 0.5) / count


def widening(net: nn.Module) -> list[str]:
    """Names of the weights of layers that give more numbers than they take, and of those that take these."""
    layers = [(path, module) for path, module in net.named_modules() if module in set(outputs(net))]
    wide = [
        (first, second)
        for (first, one), (second, other) in pairwise(layers)
        if one.weight.shape[1] < len(one.weight) == other.weight.shape[1]
    ]
    return [f"{path}.weight" for pair in wide for path in pair]


def unfollowed(net: nn.Module) -> list[str]:
    """The kinds of layers with parameters through which torch-pruning does not follow channels, or does so wrongly."""
    kinds = {}
    for module in net.modules():
        own = any(p.numel() > 1 for p in module.parameters(recurse=False))
        double = isinstance(module, INSTANCE_NORMS) and module.track_running_stats  # cut twice
        if own and (double or not isinstance(module, FOLLOWED)):
            kinds[type(module).__name__] = None
    return list(kinds)


@torch.no_grad()
def check_reached(net: nn.Module, example: Tensor) -> None:
    """Raise UserError where numbers decide which layers an example passes: channels are followed along one way only."""
    layers = {module: path for path, module in net.named_modules() if module in set(outputs(net))}
    left = dict(layers)

    def reached(layer: nn.Module, inputs: object, output: object) -> None:  # noqa: ARG001
        left.pop(layer, None)

    hooks = [layer.register_forward_hook(reached) for layer in layers]
    with hooked(hooks), Looks() as looks:
        net(example)
    if left and looks.found:
        reason = f"not every example passes {', '.join(left.values())}, so channels cannot be followed"
        raise UserError(f"compress=prune_neurons: {reason}; compress=prune and low_rank take this network")


def odd_shapes(net: nn.Module) -> dict[str, list[torch.Size]]:
    """Path -> shapes of the parameters, for layers of classes that surgery knows nothing else of."""
    return {
        path: [parameter.shape for parameter in module.parameters(recurse=False)]
        for path, module in net.named_modules()
        if not can_be_described(module) and any(True for _ in module.parameters(recurse=False))
    }


def output_layers(net: nn.Module, example: Tensor) -> list[nn.Module]:
    """The layers whose outputs no other layer takes in, so that they are the network's own, wherever they stand."""
    from torch_pruning import DependencyGraph

    graph, layers = DependencyGraph().build_dependency(net, example), set(outputs(net))
    ends = []
    for group in graph.get_all_groups():
        members = [(item.dep.target.module, item.dep.handler.__name__) for item in group]
        if not any(module in layers and handler == "prune_in_channels" for module, handler in members):
            ends += [module for module, _ in members if module in layers]
    return ends


def group_score(group: list, scores: Importance) -> Tensor:
    """The mean score of each channel, [O], over the layers of a torch-pruning group that produce it."""
    layers = []
    for dependency, index in group:
        layer = dependency.target.module
        if layer in scores and dependency.handler.__name__ == "prune_out_channels":
            layers.append(scores[layer][index])
    return torch.stack(layers).mean(0)
