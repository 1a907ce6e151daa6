"""Which outputs of the network answer for an example: the three scenarios of van de Ven & Tolias (2019)."""

from dataclasses import dataclass

from torch import Tensor


class SharedHead:
    """All outputs answer for every task (domain scenario, and a single task)."""

    def __call__(self, logits: Tensor, task: Tensor) -> Tensor:  # noqa: ARG002
        """Logits [B, outputs] as they are."""
        return logits

    def earlier(self, logits: Tensor, task: int) -> Tensor:  # noqa: ARG002
        """The outputs that tasks before `task` (from 0) used, of logits [B, outputs]: [B, groups, classes].

        Those of a group compete with one another.
        """
        return logits.unsqueeze(1)

    def begin_task(self, task: int) -> None:
        """Nothing changes when `task` begins."""


@dataclass
class OwnHeads(SharedHead):
    """Each task has `classes` outputs of its own, picked by the task id that is given (task scenario)."""

    classes: int

    def __call__(self, logits: Tensor, task: Tensor) -> Tensor:
        """From logits [B, tasks * classes] each example's own [B, classes]."""
        heads = logits.unflatten(1, (-1, self.classes))
        return heads.gather(1, task.view(-1, 1, 1).expand(-1, 1, self.classes)).squeeze(1)

    def earlier(self, logits: Tensor, task: int) -> Tensor:
        """The heads of all earlier tasks, [B, task, classes]."""
        return logits[:, : task * self.classes].unflatten(1, (-1, self.classes))


@dataclass
class GrowingHead(SharedHead):
    """All classes met so far compete (class scenario); before the first task, all there will be."""

    classes: int
    active: int | None = None  # classes that compete; None: all

    def __call__(self, logits: Tensor, task: Tensor) -> Tensor:  # noqa: ARG002
        """Logits [B, all classes] cut to those of the classes met, [B, met]."""
        return logits if self.active is None else logits[:, : self.active]

    def earlier(self, logits: Tensor, task: int) -> Tensor:
        """All classes of earlier tasks, in one group."""
        return logits[:, : task * self.classes].unsqueeze(1)

    def begin_task(self, task: int) -> None:
        """The classes of `task` (from 0) and of all before it compete from now on."""
        self.active = max((task + 1) * self.classes, self.active or 0)
