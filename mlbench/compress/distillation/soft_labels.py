"""Soft labels: the class probabilities of teachers at a temperature."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor, nn

from mlbench.data.split import Split

BATCH_SIZE = 1000  # examples


@dataclass(frozen=True)
class SoftLabels:
    """Statistics of the soft labels of a split.

    Attributes:
        mean: Mean soft label of the examples of each class, [C, C]; zeros for a class without examples.
        entropy: Mean entropy of the soft labels in nats.
        changed: Share of examples whose most probable class differs from that at temperature 1; 0 for one teacher.
        distance: Euclidean distance between the mean examples of the classes, [C, C]; None for texts, whose tokens
            are only numbered.
    """

    mean: Tensor
    entropy: float
    changed: float
    distance: Tensor | None

    @classmethod
    @torch.no_grad()
    def of(cls, teachers: list[nn.Module], split: Split, temperature: float) -> "SoftLabels":
        """Compute the soft labels of all examples in `split`.

        Args:
            teachers: Networks in eval mode; their probabilities are averaged.
            split: The examples.
            temperature: Temperature of the softmax, above 0.
        """
        mean = centre = count = entropy = changed = 0.0
        for index in split.chunks(BATCH_SIZE):
            batch = split.batch(index)
            outputs = [teacher(batch.x) for teacher in teachers]
            logits = mean_logits(outputs, temperature)
            soft = (logits / temperature).softmax(1)
            member = F.one_hot(batch.y, soft.shape[1]).to(soft.dtype)  # [B, C]
            count = count + member.sum(0)
            mean = mean + member.T @ soft
            centre = centre + member.T @ batch.x.flatten(1).to(soft.dtype)
            entropy += torch.special.entr(soft).sum().item()
            changed += (logits.argmax(1) != mean_logits(outputs, 1.0).argmax(1)).sum().item()
        each = count.clamp(min=1)[:, None]
        distance = torch.cdist(centre / each, centre / each) if batch.x.is_floating_point() else None
        return cls(mean / each, entropy / len(split), changed / len(split), distance)

    def metrics(self) -> dict[str, float]:
        """The metrics of summary.json; one that is not defined is left out.

        Returns:
            `soft_entropy` in nats; `answers_changed`, a share; and `soft_likeness`: Spearman's correlation, over pairs
            of classes, between the probability that teachers give one class for examples of the other, and the
            closeness of the mean examples of both.
        """
        present = self.mean.sum(1) > 0  # classes may be withheld from the student
        pairs = present[:, None] & present & ~torch.eye(len(present), dtype=torch.bool, device=present.device)
        metrics = {"soft_entropy": self.entropy, "answers_changed": self.changed}
        if int(pairs.sum()) > 2 and self.distance is not None:
            rho = spearmanr(self.mean[pairs].cpu(), -self.distance[pairs].cpu()).statistic
            metrics["soft_likeness"] = float(rho)
        return {name: value for name, value in metrics.items() if math.isfinite(value)}


def mean_logits(logits: list[Tensor], temperature: float) -> Tensor:
    """Logits [B, outputs] whose softmax at `temperature` is the mean of those of `logits`, each [B, outputs]."""
    logs = torch.stack([F.log_softmax(each.float() / temperature, 1) for each in logits])
    return temperature * (logs.logsumexp(0) - math.log(len(logits)))
