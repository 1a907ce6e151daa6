"""Which outputs of the network belong to a task: the three scenarios of van de Ven & Tolias (2019)."""

from dataclasses import dataclass

from torch import Tensor


class SharedHead:
    """All outputs are used for every task (domain scenario, and a single task)."""

    def __call__(self, logits: Tensor, task: Tensor) -> Tensor:  # noqa: ARG002
        """Logits [B, outputs] as they are."""
        return logits

    def earlier(self, logits: Tensor, task: int) -> Tensor:  # noqa: ARG002
        """Select the outputs that earlier tasks used.

        Args:
            logits: All outputs, [B, outputs].
            task: Number of the present task, from 0.

        Returns:
            Logits [B, groups, classes]; the classes of a group compete with one another.
        """
        return logits.unsqueeze(1)

    def begin_task(self, task: int) -> None:
        """Prepare for `task` (from 0); nothing changes here."""


@dataclass
class OwnHeads(SharedHead):
    """Each task has `classes` outputs of its own, selected by the task id (task scenario)."""

    classes: int

    def __call__(self, logits: Tensor, task: Tensor) -> Tensor:
        """Select the outputs [B, classes] of each example's task [B] from logits [B, tasks * classes]."""
        heads = logits.unflatten(1, (-1, self.classes))
        return heads.gather(1, task.view(-1, 1, 1).expand(-1, 1, self.classes)).squeeze(1)

    def earlier(self, logits: Tensor, task: int) -> Tensor:
        """Select the outputs of all earlier tasks, [B, task, classes]."""
        return logits[:, : task * self.classes].unflatten(1, (-1, self.classes))


@dataclass
class GrowingHead(SharedHead):
    """The classes of all tasks so far compete (class scenario); before the first task, all classes."""

    classes: int
    active: int | None = None  # classes that compete; None: all

    def __call__(self, logits: Tensor, task: Tensor) -> Tensor:  # noqa: ARG002
        """Select the outputs [B, active] of the classes so far from logits [B, all classes]."""
        return logits if self.active is None else logits[:, : self.active]

    def earlier(self, logits: Tensor, task: int) -> Tensor:
        """Select the outputs of the classes of all earlier tasks, [B, 1, task * classes]."""
        return logits[:, : task * self.classes].unsqueeze(1)

    def begin_task(self, task: int) -> None:
        """Let the classes of `task` (from 0) and of all earlier tasks compete."""
        self.active = max((task + 1) * self.classes, self.active or 0)
