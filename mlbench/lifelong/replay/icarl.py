"""iCaRL: incremental classifier and representation learning."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.data.split import Batch, Split
from mlbench.data.stream import Task
from mlbench.lifelong.base import frozen_copy
from mlbench.lifelong.buffer import Memory
from mlbench.lifelong.replay.replay import Replay, joined
from mlbench.models.surgery import last_linear
from mlbench.training.evaluation import answers
from mlbench.training.module_hooks import hooked
from mlbench.training.theta import Theta


@dataclass
class ICaRL(Replay):
    """iCaRL (Rebuffi et al. 2017): the nearest mean of exemplars answers, in the features before the last layer.

    Exemplars are chosen by herding (algorithm 4), so that the first ones of a class approach its mean best; the memory
    is shared equally among the classes (algorithm 5: the last ones go). The network learns new examples and stored ones
    with a sigmoid for each class (algorithm 3): the label for new classes, the answer of the network as it was before
    the task for old ones. In the domain scenario, where all classes are old, the stored examples take the old answers
    and the new ones their labels.
    """

    scenarios = ("class", "domain")
    keeps = (*Replay.keeps, "task", "means")
    copies = ("teacher",)

    def start_task(self, net: nn.Module, task: Task) -> nn.Module:
        """Which classes and examples are new."""
        self.task = task.train.newest_task
        return net

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """Binary cross-entropy, summed over the classes met."""
        if self.memory is not None:
            batch = joined(batch, self.draw()[1])
        logits = self.logits(net, batch).float()  # [B, met]
        targets = F.one_hot(batch.y, logits.shape[1]).float()
        if hasattr(self, "teacher"):
            with torch.no_grad():
                before = self.logits(self.teacher, batch).float().sigmoid()
            old = self.heads.earlier(logits, self.task).shape[2]
            if old < logits.shape[1]:
                targets[:, :old] = before[:, :old]
            else:
                targets = torch.where((batch.task < self.task).unsqueeze(1), before, targets)
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(batch.y)

    def fresh(self, net: nn.Module, split: Split, count: int) -> Memory:
        """Each class's examples in the order of herding."""
        everything = Memory.of(split, len(split), self.generator)
        found, chosen = features(net, everything.split(self.normalise, self.transform)), []
        for label in everything.labels.unique():
            members = (everything.labels == label).nonzero().squeeze(1)
            chosen.append(members[herding(found[members], min(count, len(members)))])
        return everything.take(torch.cat(chosen))

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:
        """Choose the exemplars, find their means, and remember the network."""
        super().end_task(net, theta, task)
        found = features(net, self.memory.split(self.normalise, self.transform))
        self.means = torch.full((self.outputs, found.shape[1]), torch.inf, device=found.device)
        for label in self.memory.labels.unique():
            self.means[label] = F.normalize(found[self.memory.labels == label].mean(0), dim=0)
        self.teacher = frozen_copy(net)

    def predictor(self, net: nn.Module, task: int) -> nn.Module:  # noqa: ARG002
        """The nearest mean, once there are means."""
        if not hasattr(self, "means"):
            return net
        return NearestMean(net, *self.means.shape).holding(self.means)


class NearestMean(nn.Module):
    """Classifies by the nearest of `means` [classes, width] in the features of `net` before its last layer.

    The outputs are minus the squared distances; a class whose mean is infinite is never the nearest.
    """

    def __init__(self, net: nn.Module, classes: int, width: int):
        super().__init__()
        self.net = net
        self.wrapping = {"_target_": "mlbench.lifelong.replay.icarl.NearestMean", "classes": classes, "width": width}
        self.register_buffer("means", torch.full((classes, width), torch.inf))

    def holding(self, means: Tensor) -> "NearestMean":
        """Itself, with these means."""
        self.means = means
        return self

    def forward(self, x: Tensor) -> Tensor:
        """[B, classes]."""
        found = normalised_features(self.net, x)
        known = self.means.isfinite().all(1)  # [classes]
        distances = torch.cdist(found, self.means.nan_to_num(posinf=0.0)).square()
        return torch.where(known, -distances, -torch.inf)


def normalised_features(net: nn.Module, x: Tensor) -> Tensor:
    """What goes into the last linear layer for inputs x, each divided by its norm, [B, width]."""
    seen: list[Tensor] = []
    with hooked([last_linear(net).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))]):
        net(x)
    return F.normalize(seen[0].float(), dim=1)


def features(net: nn.Module, split: Split) -> Tensor:
    """The normalised features of every example of `split`, [n, width]."""
    return torch.cat([found for found, _ in answers(net, split, lambda net, batch: normalised_features(net, batch.x))])


def herding(found: Tensor, count: int) -> Tensor:
    """The indices of `count` of the features [n, width], each bringing the mean of those so far nearest to the mean.

    The features have norm 1, so that the nearest is the one with the largest product with k * mean - sum so far. The
    mean is not scaled to norm 1, as the paper's is: no mean of several features reaches that.
    """
    mean, total = found.mean(0), torch.zeros_like(found[0])
    free, order = torch.zeros(len(found), device=found.device), []
    for taken in range(count):
        best = (found @ ((taken + 1) * mean - total) + free).argmax()
        free[best] = -torch.inf
        total = total + found[best]
        order.append(best)
    return torch.stack(order)
