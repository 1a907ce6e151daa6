"""iCaRL: incremental classifier and representation learning."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.data.split import Batch, Split
from mlbench.data.stream import Task
from mlbench.lifelong.base import frozen_copy
from mlbench.lifelong.buffer import Buffer
from mlbench.lifelong.replay.base import ReplayMethod, concatenate
from mlbench.lifelong.stored_examples import StoredExamples
from mlbench.training.evaluation import answers
from mlbench.training.features import features
from mlbench.training.theta import Theta


@dataclass
class ICaRL(ReplayMethod):
    """iCaRL (Rebuffi et al. 2017): classification by the nearest mean of exemplars, in the features of the network.

    The features are the inputs of the last layer. Exemplars are chosen by herding (algorithm 4), so that the first ones
    of a class approximate its mean best; the classes share the buffer equally (algorithm 5 removes the last ones). The
    network is trained on new and stored examples with one sigmoid for each class (algorithm 3). The target of a new
    class is the label, that of an old class the output of the network before the task. In the domain scenario, which
    the paper does not treat, all classes are old: there the targets of stored examples are the old outputs, those of
    new examples their labels.

    Args:
        memory_total: Capacity of the buffer, in examples.
    """

    memory_total: int

    scenarios = ("class", "domain")
    state_fields = ("task", "means")
    frozen_networks = ("teacher",)

    def __post_init__(self):
        super().__post_init__()
        self.buffer = Buffer(self.memory_total)

    def start_task(self, net: nn.Module, task: Task) -> nn.Module:
        """Note the number of the task, which says which classes are old."""
        self.task = task.train.newest_task
        return net

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """Binary cross-entropy, summed over the classes seen so far and averaged over the examples."""
        if self.buffer:
            batch = concatenate(batch, self.buffer.batch(self.draw()))
        logits = self.logits(net, batch).float()  # [B, classes so far]
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

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:  # noqa: ARG002
        """Choose the exemplars, compute their means, and copy the network as the next teacher."""
        self.buffer.add(self.exemplars(net, task.train), len(task.train))
        stored = self.buffer.examples
        self.samples_consolidated += len(task.train) + len(stored)
        vectors = features_of(net, self.buffer.split(stored))
        self.means = torch.full((self.outputs, vectors.shape[1]), torch.inf, device=vectors.device)
        for label in stored.labels.unique():
            self.means[label] = F.normalize(vectors[stored.labels == label].mean(0), dim=0)
        self.teacher = frozen_copy(net)

    def exemplars(self, net: nn.Module, split: Split) -> StoredExamples:
        """Examples of each class of `split`, in the order of herding, as many as the buffer could hold of a class."""
        candidates = StoredExamples.sample(self.buffer.untransformed(split), len(split), self.generator)
        vectors, chosen = features_of(net, self.buffer.split(candidates)), []
        for label in candidates.labels.unique():
            members = (candidates.labels == label).nonzero().squeeze(1)
            chosen.append(members[herding(vectors[members], min(self.memory_total, len(members)))])
        return candidates.take(torch.cat(chosen))

    def predictor(self, net: nn.Module, task: int) -> nn.Module:  # noqa: ARG002
        """The nearest-mean classifier; the network itself before the first task ends."""
        if not hasattr(self, "means"):
            return net
        return NearestMean(net, *self.means.shape).with_means(self.means)


class NearestMean(nn.Module):
    """Classifies by the nearest of `means` [classes, width] in the features of `net` before its last layer.

    The outputs are minus the squared distances; a class whose mean is infinite is never the nearest.
    """

    def __init__(self, net: nn.Module, classes: int, width: int):
        super().__init__()
        self.net = net
        self.wrapping = {"_target_": "mlbench.lifelong.replay.icarl.NearestMean", "classes": classes, "width": width}
        self.register_buffer("means", torch.empty(classes, width))  # of any size until it is known to be allowed
        self.means.fill_(torch.inf)

    def with_means(self, means: Tensor) -> "NearestMean":
        """Set the `means` [classes, width]; returns itself."""
        self.means = means
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Minus the squared distances [B, classes] of pictures [B, C, H, W] from the means."""
        vectors = normalised_features(self.net, x)
        defined = self.means.isfinite().all(1)  # [classes]
        distances = torch.cdist(vectors, self.means.nan_to_num(posinf=0.0)).square()
        return torch.where(defined, -distances, -torch.inf)


def normalised_features(net: nn.Module, x: Tensor) -> Tensor:
    """The inputs of the last linear layer for pictures x, each divided by its norm, [B, width]."""
    return F.normalize(features(net, x).float(), dim=1)


def features_of(net: nn.Module, split: Split) -> Tensor:
    """The normalised features of every example of `split`, [n, width]."""
    return torch.cat([part for part, _ in answers(net, split, lambda net, batch: normalised_features(net, batch.x))])


def herding(vectors: Tensor, count: int) -> Tensor:
    """Choose exemplars greedily, so that the mean of the first k is as near to the mean of all as possible, for each k.

    All features have norm 1, so that the nearest choice is the one with the largest product with k * mean - sum so far.
    Unlike the paper's, the mean is not scaled to norm 1, since no mean of several features reaches that.

    Args:
        vectors: Normalised features [n, width].
        count: How many to choose, at most n.

    Returns:
        Their indices [count], in the order of choice.
    """
    mean, total = vectors.mean(0), torch.zeros_like(vectors[0])
    penalty, order = torch.zeros(len(vectors), device=vectors.device), []  # -inf where already chosen
    for number in range(1, count + 1):
        best = (vectors @ (number * mean - total) + penalty).argmax()
        penalty[best] = -torch.inf
        total = total + vectors[best]
        order.append(best)
    return torch.stack(order)
