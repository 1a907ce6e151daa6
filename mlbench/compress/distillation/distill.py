"""Knowledge distillation: a student of any kind learns a trained network's answers."""

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

from mlbench.compress.base import Finetuned, Point, Workbench
from mlbench.compress.distillation.soft_labels import SoftLabels, averaged
from mlbench.core.errors import SettingError, UserError, require
from mlbench.core.instantiate import Blueprint
from mlbench.data.split import Batch, Split
from mlbench.models.surgery import last_linear
from mlbench.runs.results import Panel, Row
from mlbench.training.learner import Learner
from mlbench.training.losses import distillation

AT_ONCE = 1000  # validation examples at once


@dataclass
class Distill(Finetuned):
    """Distillation (Hinton et al. 2015): (1 - alpha) * cross-entropy + alpha * T^2 * KL(teachers || student).

    The dense network is the teacher. With `ensemble` above 1 more like it are trained from other weights, and
    `teachers` are read from checkpoints; their probabilities at temperature T are averaged. `hint_strength` adds a pull
    of the student's last hidden features towards the teachers' similarities between examples (Tung & Mori 2019,
    eq. 1-4), which needs no equal widths. The student is any model. `alone` trains the same one by the labels as well.

    Where `data.drop_classes` keeps classes from the student, the teachers know them, and a last point raises their
    biases by the amount with the lowest cross-entropy on the validation data (Hinton et al., section 3, take the best
    accuracy on the test data).
    """

    changes_weights = False  # the student's are its own

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
        """The teachers."""
        return [Path(path).expanduser() for path in self.teachers]

    def check(self, net: nn.Module) -> None:
        """Teachers must be there; hints are compared at the input of a linear last layer."""
        for path in self.networks():
            if not path.exists():
                raise UserError(f"compress.teachers: {path} does not exist")
        if self.hint_strength and last_linear(net) is None:
            raise SettingError("hint_strength", self.hint_strength, "0 for a teacher without a linear layer")

    def compress(self, dense: Point, bench: Workbench) -> Iterator[Point]:
        """The student alone, the student distilled, and this one with raised biases where classes were dropped."""
        teachers = [dense.net, *(bench.read(path) for path in self.teachers)]
        for number in range(2, self.ensemble + 1):
            teachers.append(bench.fit(bench.build(dense.blueprint), f"teacher {number}", train=bench.whole))
        student = bench.build(self.student)
        if self.alone:
            alone = self.finetune(copy.deepcopy(student), bench, "student alone")
            yield Point("student alone", alone, dense.entropy, self.student)
        frozen = [teacher.eval().requires_grad_(False) for teacher in teachers]
        self.softened, self.classes = SoftLabels.of(frozen, bench.train, self.temperature), bench.classes
        with Distillation(self, student, frozen) as learner:
            self.finetune(student, bench, "student", learner)
        yield Point("distilled", student, dense.entropy, self.student)
        if bench.dropped:
            raised = copy.deepcopy(student)
            layer = last_linear(raised)
            if layer is None or layer.bias is None or layer.out_features != bench.outputs:
                return
            with torch.no_grad():
                layer.bias[bench.dropped] += best_bias(raised, bench.validation, bench.dropped)
            yield Point("bias raised", raised, dense.entropy, self.student)

    def metrics(self, rows: list[dict[str, float]], correct: np.ndarray) -> dict[str, float]:  # noqa: ARG002
        """What the teachers' answers on the training data are like."""
        return self.softened.metrics()

    def grids(self, test: Split) -> dict[str, list[Row]]:  # noqa: ARG002
        """The mean answer to each class, without that for the class itself, which would outshine the others."""
        others = self.softened.mean.clone().fill_diagonal_(0.0)
        title = f"mean answers at temperature {self.temperature:g}: a row for each class, without its own"
        return {"soft_labels": [(title, [Panel(map=others.cpu().numpy(), classes=self.classes)])]}


class Distillation(Learner):
    """The student's loss; as a context it listens to the features of everyone."""

    def __init__(self, settings: Distill, student: nn.Module, teachers: list[nn.Module]):
        self.settings, self.student, self.teachers = settings, student, teachers

    def __enter__(self) -> "Distillation":
        nets = [self.student, *self.teachers] if self.settings.hint_strength else []
        self.heard = [Features(net) for net in nets]
        return self

    def __exit__(self, *_: object) -> None:
        for features in self.heard:
            features.hook.remove()

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """A number."""
        alpha, temperature = self.settings.alpha, self.settings.temperature
        logits = net(batch.x)
        with torch.no_grad():
            target = averaged([teacher(batch.x) for teacher in self.teachers], temperature)
        loss = alpha * distillation(logits, target, temperature)
        if alpha < 1:
            loss = loss + (1 - alpha) * F.cross_entropy(logits, batch.y)
        if self.heard:
            own, *others = (similarities(features.value) for features in self.heard)
            pull = sum(F.mse_loss(own, other) for other in others) / len(others)
            loss = loss + self.settings.hint_strength * pull
        return loss


class Features:
    """What comes into a network's last linear layer, as of its last call."""

    def __init__(self, net: nn.Module):
        self.hook = last_linear(net).register_forward_pre_hook(self.keep)

    def keep(self, layer: nn.Module, inputs: tuple[Tensor]) -> None:  # noqa: ARG002
        """A hook."""
        (self.value,) = inputs


def similarities(features: Tensor) -> Tensor:
    """Features [B, ...] to how alike the examples are [B, B], each row of length 1 (Tung & Mori 2019, eq. 1-2)."""
    flat = features.flatten(1)
    return F.normalize(flat @ flat.T, dim=1)


@torch.no_grad()
def best_bias(net: nn.Module, split: Split, classes: list[int]) -> float:
    """What to add to the logits of `classes` for the lowest cross-entropy on `split`.

    There the probabilities of `classes` add up to their number of examples, and only one number does that. The
    accuracy, which is flat near its highest value, would let a few examples decide.
    """
    leads, inside = [], []
    for index in split.chunks(AT_ONCE):
        batch = split.batch(index)
        logits = net(batch.x).double()
        chosen = torch.zeros(logits.shape[1], dtype=torch.bool, device=logits.device)
        chosen[classes] = True
        own, others = (logits.masked_fill(~mask, -math.inf).logsumexp(1) for mask in (chosen, ~chosen))
        leads.append(own - others)
        inside.append(chosen[batch.y])
    lead, count = torch.cat(leads), int(torch.cat(inside).sum())
    if count in (0, len(lead)):
        return 0.0  # one side has no example to judge by
    surplus = lambda bias: (lead + bias).sigmoid().sum().item() - count  # noqa: E731
    edge = lead.abs().max().item() + math.log(len(lead)) + 1  # beyond it, all are on one side
    return brentq(surplus, -edge, edge)
