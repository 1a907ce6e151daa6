"""What a lifelong method may do: the hooks, and what they do by default. The runner stands in runner.py."""

import copy
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.data.output_heads import OwnHeads, SharedHead
from mlbench.data.split import Batch, Split
from mlbench.data.stream import Stream, Task
from mlbench.experiment.technique import Technique
from mlbench.lifelong.buffer import Memory
from mlbench.models.surgery import last_linear
from mlbench.training.compute import Compute
from mlbench.training.learner import Learner
from mlbench.training.optimizer import Training
from mlbench.training.theta import Theta


class Method(Learner, Technique):
    """A way to learn task after task; subclasses are dataclasses whose fields are the hyperparameters.

    Hooks of the loop come from `Learner`, those of the stream stand here; all defaults do nothing, which is
    fine-tuning. `keeps` names the attributes that a checkpoint must hold: tensors, numbers, lists or dicts of them,
    or a Memory; `copies` those that are frozen copies of the network. One that keeps other modules has a `state` of its
    own.
    """

    takes = ("reference",)
    scenarios: ClassVar[tuple[str, ...]] = ("task", "domain", "class")
    keeps: ClassVar[tuple[str, ...]] = ()
    copies: ClassVar[tuple[str, ...]] = ()
    turns_back: ClassVar[bool] = True  # whether early stopping may go back to weights of an earlier epoch
    at_once: ClassVar[bool] = False  # whether `stream` makes one task of all, so that R has only its last row
    memory: Memory | None = None

    def __post_init__(self):
        """Subclasses raise SettingError for settings out of their ranges."""

    def begin(self, stream: Stream, training: Training, compute: Compute, generator: torch.Generator) -> None:
        """Meet the stream before the first task; called again when a run is resumed, before `load_state`."""
        self.heads: SharedHead = stream.heads
        self.task_count, self.outputs = len(stream.tasks), stream.outputs
        self.normalise = stream.tasks[0].train.normalise
        self.training, self.compute, self.generator = training, compute, generator

    def stream(self, stream: Stream) -> Stream:
        """The tasks as this method learns them."""
        return stream

    def examples(self, split: Split) -> Split:
        """What to learn from when `split` holds the task's own examples."""
        return split

    def logits(self, net: nn.Module, batch: Batch) -> Tensor:
        """The outputs [B, classes] that compete for each example in the stream's scenario."""
        return self.heads(net(batch.x), batch.task)

    def validation_loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """The cross-entropy on the new task, for all methods alike, whatever they learn from besides."""
        return F.cross_entropy(self.logits(net, batch), batch.y)

    def undecayed(self, net: nn.Module, theta: Theta, split: Split) -> list[slice]:
        """The outputs of tasks that `split` does not hold: weight decay must not wear them away."""
        head = last_linear(net)
        if not isinstance(self.heads, OwnHeads) or head is None or head.out_features != self.outputs:
            return []
        present = {split.task} if isinstance(split.task, int) else set(split.task.tolist())
        pieces = []
        for name, parameter in theta.parameters.items():
            if parameter is head.weight or parameter is head.bias:
                place = theta.layout[name]
                size = (place.stop - place.start) * self.heads.classes // head.out_features
                for task in range(head.out_features // self.heads.classes):
                    if task not in present:
                        pieces.append(slice(place.start + task * size, place.start + (task + 1) * size))
        return pieces

    def start_task(self, net: nn.Module, task: Task) -> nn.Module:  # noqa: ARG002
        """The network to train on `task`."""
        return net

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:
        """Consolidate what was learned from `task`."""

    def predictor(self, net: nn.Module, task: int) -> nn.Module:  # noqa: ARG002
        """The module that answers for `task` (from 0) in the evaluation, given the network just trained."""
        return net

    def replays(self, task: int) -> float:  # noqa: ARG002
        """Old examples that go through the network again for each new one at `task` (from 0), for the time estimate."""
        return 0.0

    def measured(self) -> dict[str, float]:
        """What the method saw on its way that nobody else can measure, as metrics of the run."""
        return {}

    def networks(self, net: nn.Module) -> list[nn.Module]:
        """The modules whose parameters all predictors together need, `net` being the one just trained."""
        return [net]

    def state(self) -> dict[str, Any]:
        """What `keeps` and `copies` name, as tensors and plain values."""
        present = {name: getattr(self, name, None) for name in (*self.keeps, *self.copies)}
        return {name: packed(value) for name, value in present.items() if value is not None}

    def load_state(self, state: dict[str, Any], net: nn.Module) -> nn.Module:
        """The inverse of `state`; returns the network with the structure that it had, its weights to be loaded."""
        for name, value in state.items():
            if name in self.copies:
                copied = frozen_copy(net)
                copied.load_state_dict(value)
                setattr(self, name, copied)
            else:
                setattr(self, name, Memory(**value) if name == "memory" else value)
        return net


def packed(value: object) -> object:
    """A Memory as the dict of its tensors, a module as its weights; everything else as it is."""
    if isinstance(value, nn.Module):
        return value.state_dict()
    return vars(value) if isinstance(value, Memory) else value


def frozen_copy(net: nn.Module) -> nn.Module:
    """The network as it is now, in eval mode, never to be trained."""
    return copy.deepcopy(net).eval().requires_grad_(False)
