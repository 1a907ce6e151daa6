"""The base class of lifelong methods: its hooks and their defaults. They are called by runner.py."""

import copy
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.data.output_heads import OwnHeads, SharedHead
from mlbench.data.split import Batch, Split
from mlbench.data.stream import Stream, Task
from mlbench.experiment.technique import Technique
from mlbench.lifelong.buffer import Buffer
from mlbench.models.surgery import last_linear
from mlbench.training.compute import Compute
from mlbench.training.learner import Learner
from mlbench.training.optimizer import Training
from mlbench.training.theta import Theta


class Method(Learner, Technique):
    """A way to learn one task after another; subclasses are dataclasses whose fields are the hyperparameters.

    The hooks of the training loop come from `Learner`, those of the stream are here. All defaults do nothing, which is
    fine-tuning. A checkpoint holds the attributes named in `state_fields` (tensors, numbers, or lists and dicts of
    them), the weights of those named in `frozen_networks` (copies of the network), and the content of `buffer`. A
    method that owns other modules overrides `state` and `load_state`.
    """

    takes = ("reference", "reference_epochs")
    needs_epochs = True
    scenarios: ClassVar[tuple[str, ...]] = ("task", "domain", "class")
    state_fields: ClassVar[tuple[str, ...]] = ()
    frozen_networks: ClassVar[tuple[str, ...]] = ()
    early_stopping: ClassVar[bool] = True  # whether early stopping may return to the weights of an earlier epoch
    joint: ClassVar[bool] = False  # whether `stream` merges all tasks into one, so that R has only its last row
    buffer: Buffer | None = None  # stored examples of earlier tasks
    samples_consolidated: int = 0  # examples gone over for importances, exemplars or outputs, counted by those who do

    def __post_init__(self):
        """Subclasses raise SettingError for settings out of their ranges."""

    def begin(self, stream: Stream, training: Training, compute: Compute, generator: torch.Generator) -> None:
        """Prepare for a stream, before its first task. A resumed run calls it before `load_state`.

        Args:
            stream: The tasks, as returned by `stream`.
            training: The settings of each task's training.
            compute: The device and the precision.
            generator: The source of all random draws of the method.
        """
        self.heads: SharedHead = stream.heads
        self.task_count, self.outputs = len(stream.tasks), stream.outputs
        self.normalise = stream.tasks[0].train.normalise
        self.training, self.compute, self.generator = training, compute, generator
        if self.buffer is not None:
            self.buffer.begin(stream, training, generator)

    def stream(self, stream: Stream) -> Stream:
        """The tasks as this method learns them."""
        return stream

    def task_training(self, training: Training) -> Training:
        """The settings of each task's training, given those of `train.*`."""
        return training

    def examples(self, split: Split) -> Split:
        """The examples to train on, where `split` holds the task's own."""
        return split

    def logits(self, net: nn.Module, batch: Batch) -> Tensor:
        """The outputs [B, classes] that compete for each example in the stream's scenario."""
        return self.heads(net(batch.x), batch.task)

    def validation_loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """The cross-entropy on the new task, the same for all methods, whatever else is in their loss."""
        return F.cross_entropy(self.logits(net, batch), batch.y)

    def undecayed(self, net: nn.Module, theta: Theta, split: Split) -> list[slice]:
        """Where the vector holds outputs of tasks that are not in `split`: weight decay must not shrink them."""
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
        """The module that is evaluated on `task` (from 0), given the network just trained."""
        return net

    def replay_ratio(self, task: int) -> float:  # noqa: ARG002
        """Replayed examples for each new one during `task` (from 0), for the estimate of the remaining time."""
        return 0.0

    def metrics(self) -> dict[str, float]:
        """Metrics of the run that only the method itself can measure."""
        return {}

    def networks(self, net: nn.Module) -> list[nn.Module]:
        """The modules whose parameters all predictors together need, `net` being the one just trained."""
        return [net]

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs, as tensors and plain values."""
        values = {name: getattr(self, name) for name in self.state_fields if getattr(self, name, None) is not None}
        copies = {name: getattr(self, name).state_dict() for name in self.frozen_networks if hasattr(self, name)}
        return {**values, **copies, **(self.buffer.state() if self.buffer is not None else {})}

    def load_state(self, state: dict[str, Any], net: nn.Module) -> nn.Module:
        """Restore what `state` returned.

        Args:
            state: The method's part of a checkpoint, with tensors on the device of the run.
            net: The network before the first task.

        Returns:
            The network with the structure that it had; its weights are still to be loaded.
        """
        if self.buffer is not None:
            self.buffer.load_state(state)
        for name, value in state.items():
            if name in self.frozen_networks:
                copied = frozen_copy(net)
                copied.load_state_dict(value)
                setattr(self, name, copied)
            else:
                setattr(self, name, value)
        return net


def frozen_copy(net: nn.Module) -> nn.Module:
    """The network as it is now, in eval mode and without gradients."""
    return copy.deepcopy(net).eval().requires_grad_(False)
