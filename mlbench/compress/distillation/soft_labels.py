"""What teachers answer, softened: what a student learns from."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor, nn

from mlbench.data.split import Split

AT_ONCE = 1000  # examples


@dataclass(frozen=True)
class SoftLabels:
    """What teachers answer at a temperature: the `mean` [C, C] over the examples of each class, the mean `entropy` in
    nats, the share of examples whose answer at temperature 1 is another, and has been `changed` (one teacher's never
    is), and the `distance` [C, C] between the mean pictures of the classes."""

    mean: Tensor
    entropy: float
    changed: float
    distance: Tensor | None  # texts, whose word pieces are only numbered, have none

    @classmethod
    @torch.no_grad()
    def of(cls, teachers: list[nn.Module], split: Split, temperature: float) -> "SoftLabels":
        """Of all examples in `split`."""
        mean = centre = count = entropy = changed = 0.0
        for index in split.chunks(AT_ONCE):
            batch = split.batch(index)
            outputs = [teacher(batch.x) for teacher in teachers]
            logits = averaged(outputs, temperature)
            soft = (logits / temperature).softmax(1)
            member = F.one_hot(batch.y, soft.shape[1]).to(soft.dtype)  # [B, C]
            count = count + member.sum(0)
            mean = mean + member.T @ soft
            centre = centre + member.T @ batch.x.flatten(1).to(soft.dtype)
            entropy += torch.special.entr(soft).sum().item()
            changed += (logits.argmax(1) != averaged(outputs, 1.0).argmax(1)).sum().item()
        each = count.clamp(min=1)[:, None]
        distance = torch.cdist(centre / each, centre / each) if batch.x.is_floating_point() else None
        return cls(mean / each, entropy / len(split), changed / len(split), distance)

    def metrics(self) -> dict[str, float]:
        """`soft_entropy`, `answers_changed`, and `soft_likeness`: Spearman's correlation over pairs of classes of how
        much of the one the teachers see in the other with how near their mean pictures are."""
        present = self.mean.sum(1) > 0  # classes may be kept from the student
        pairs = present[:, None] & present & ~torch.eye(len(present), dtype=torch.bool, device=present.device)
        found = {"soft_entropy": self.entropy, "answers_changed": self.changed}
        if int(pairs.sum()) > 2 and self.distance is not None:
            rho = spearmanr(self.mean[pairs].cpu(), -self.distance[pairs].cpu()).statistic
            found["soft_likeness"] = float(rho)
        return {name: value for name, value in found.items() if math.isfinite(value)}


def averaged(logits: list[Tensor], temperature: float) -> Tensor:
    """Logits whose softmax at `temperature` is the mean of those of `logits`, each [B, outputs]."""
    logs = torch.stack([F.log_softmax(each.float() / temperature, 1) for each in logits])
    return temperature * (logs.logsumexp(0) - math.log(len(logits)))
