"""Knowledge distillation: a student learns from the outputs of trained teachers."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import brentq
from torch import Tensor, nn

from mlbench.compress.base import Context, Finetuned, Point
from mlbench.compress.distillation.soft_labels import SoftLabels, mean_logits
from mlbench.core.errors import SettingError, UserError, require
from mlbench.core.instantiate import Blueprint
from mlbench.core.user_path import user_path
from mlbench.data.split import Batch, Split
from mlbench.models.surgery import last_linear
from mlbench.runs.results import Panel, Row
from mlbench.training.learner import Learner
from mlbench.training.losses import distillation, weighted_cross_entropy

BATCH_SIZE = 1000  # validation examples


@dataclass
class Distill(Finetuned):
    """Distillation (Hinton et al. 2015): (1 - alpha) * cross-entropy + alpha * T^2 * KL(teachers || student).

    The dense network is the teacher; the probabilities of several teachers at temperature T are averaged.

    Where `data.drop_classes` withholds classes from the student, the teachers are still trained on them, and a last
    point raises the student's biases for them by the amount with the lowest cross-entropy on the validation data.
    Hinton et al. (section 3) choose it by the accuracy on the test data.

    Args:
        student: Any model.
        temperature: T, above 0.
        alpha: Weight of the teachers' outputs, 0 to 1; the labels have the rest.
        ensemble: Number of teachers like the dense network; those beyond the first are trained from other weights.
        teachers: Checkpoints of more teachers.
        hint_strength: Weight of a loss that brings the similarities between examples, in the features in front of the
            student's last layer, close to the teachers' (Tung & Mori 2019, eq. 1-4). Widths may differ.
        alone: Whether to train the student on the labels alone as well, for comparison.
    """

    changes_weights = False  # the student has its own

    student: Blueprint
    temperature: float
    alpha: float
    ensemble: int
    teachers: list[str]
    hint_strength: float
    alone: bool

    def __post_init__(self):
        super().__post_init__()
        require(0 < self.temperature < math.inf, "temperature", self.temperature, "above 0")
        require(0 <= self.alpha <= 1, "alpha", self.alpha, "0 to 1")
        require(self.ensemble >= 1, "ensemble", self.ensemble, "1 or more")
        require(0 <= self.hint_strength < math.inf, "hint_strength", self.hint_strength, "0 or more")
        require(self.finetune_epochs > 0, "finetune_epochs", self.finetune_epochs, "1 or more: it is what trains")

    def networks(self) -> list[Path]:
        """The checkpoints of teachers."""
        return [user_path(path) for path in self.teachers]

    def check(self, net: nn.Module) -> None:
        """Raise UserError for a missing checkpoint, SettingError for hints where there is no linear layer."""
        for path in self.networks():
            if not path.exists():
                raise UserError(f"compress.teachers: {path} does not exist")
        if self.hint_strength and last_linear(net) is None:
            raise SettingError("hint_strength", self.hint_strength, "0 for a teacher without a linear layer")

    def compress(self, dense: Point, context: Context) -> Iterator[Point]:
        """Yield the student alone, the distilled one, and the latter with raised biases if classes were dropped."""
        teachers = [dense.net, *(context.read(path) for path in self.teachers)]
        for number in range(2, self.ensemble + 1):
            teachers.append(context.fit(context.build(dense.blueprint), f"teacher {number}", train=context.whole))
        student = context.build(self.student)
        if self.alone:
            alone = self.finetune(copy.deepcopy(student), context, "student alone")
            yield Point("student alone", alone, dense.entropy, self.student)
        frozen = [teacher.eval().requires_grad_(False) for teacher in teachers]
        self.soft_labels, self.classes = SoftLabels.of(frozen, context.train, self.temperature), context.classes
        with Distillation(self, student, frozen) as learner:
            self.finetune(student, context, "student", learner)
        yield Point("distilled", student, dense.entropy, self.student)
        if context.dropped:
            raised = copy.deepcopy(student)
            layer = last_linear(raised)
            if layer is None or layer.bias is None or layer.out_features != context.outputs:
                return
            with torch.no_grad():
                layer.bias[context.dropped] += best_bias(raised, context.validation, context.dropped)
            yield Point("bias raised", raised, dense.entropy, self.student)

    def metrics(self, rows: list[dict[str, float]], correct: np.ndarray) -> dict[str, float]:  # noqa: ARG002
        """Statistics of the soft labels; see `SoftLabels.metrics`."""
        return self.soft_labels.metrics()

    def grids(self, test: Split) -> dict[str, list[Row]]:  # noqa: ARG002
        """The mean soft label of each class, without the class itself, whose probability would hide the others."""
        others = self.soft_labels.mean.clone().fill_diagonal_(0.0)
        title = f"mean soft labels at temperature {self.temperature:g}: a row for each class, without the class itself"
        return {"soft_labels": [(title, [Panel(map=others.cpu().numpy(), classes=self.classes)])]}


class Distillation(Learner):
    """The student's loss; use it as a context manager, which records the features of all networks.

    Args:
        settings: The hyperparameters.
        student: The network in training.
        teachers: Networks in eval mode.
    """

    def __init__(self, settings: Distill, student: nn.Module, teachers: list[nn.Module]):
        self.settings, self.student, self.teachers = settings, student, teachers

    def __enter__(self) -> "Distillation":
        nets = [self.student, *self.teachers] if self.settings.hint_strength else []
        self.features = [Features(net) for net in nets]
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.features:
            each.hook.remove()

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """The loss of a batch, a scalar."""
        alpha, temperature = self.settings.alpha, self.settings.temperature
        logits = net(batch.x)
        with torch.no_grad():
            target = mean_logits([teacher(batch.x) for teacher in self.teachers], temperature)
        loss = alpha * distillation(logits, target, temperature)
        if alpha < 1:
            loss = loss + (1 - alpha) * weighted_cross_entropy(logits, batch.y, self.class_weights)
        if self.features:
            own, *others = (similarities(each.value) for each in self.features)
            hint = sum(F.mse_loss(own, other) for other in others) / len(others)
            loss = loss + self.settings.hint_strength * hint
        return loss


class Features:
    """Records the input of a network's last linear layer: `value` is that of the latest forward pass."""

    def __init__(self, net: nn.Module):
        self.hook = last_linear(net).register_forward_pre_hook(self.record)

    def record(self, layer: nn.Module, inputs: tuple[Tensor]) -> None:  # noqa: ARG002
        """The forward pre-hook."""
        (self.value,) = inputs


def similarities(features: Tensor) -> Tensor:
    """Similarities [B, B] between examples with features [B, ...], rows of length 1 (Tung & Mori 2019, eq. 1-2)."""
    flat = features.flatten(1)
    return F.normalize(flat @ flat.T, dim=1)


@torch.no_grad()
def best_bias(net: nn.Module, split: Split, classes: list[int]) -> float:
    """Find what to add to the logits of `classes` for the lowest cross-entropy on `split`.

    At the minimum the probabilities of `classes`, summed over all examples, equal the number of examples of these
    classes; exactly one number achieves that. The accuracy is flat near its maximum, so a few examples would decide.

    Args:
        net: A network in eval mode.
        split: Validation examples.
        classes: Indices of the classes.

    Returns:
        The number to add; 0 if `split` has no example of these classes, or only such examples.
    """
    leads, members = [], []
    for index in split.chunks(BATCH_SIZE):
        batch = split.batch(index)
        logits = net(batch.x).double()
        selected = torch.zeros(logits.shape[1], dtype=torch.bool, device=logits.device)
        selected[classes] = True
        own, others = (logits.masked_fill(~mask, -math.inf).logsumexp(1) for mask in (selected, ~selected))
        leads.append(own - others)
        members.append(selected[batch.y])
    lead, count = torch.cat(leads), int(torch.cat(members).sum())
    if count in (0, len(lead)):
        return 0.0  # the minimum would be at infinity
    surplus = lambda bias: (lead + bias).sigmoid().sum().item() - count  # noqa: E731
    bound = lead.abs().max().item() + math.log(len(lead)) + 1  # the surplus has opposite signs at both ends
    return brentq(surplus, -bound, bound)
