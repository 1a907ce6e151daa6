"""Generative replay: the old examples are dreamt, not stored."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.core.rng import apart
from mlbench.data.normalisation import Normalise
from mlbench.data.split import Batch
from mlbench.data.stream import Stream, Task
from mlbench.lifelong.base import frozen_copy
from mlbench.lifelong.replay.base import ReplayMethod, concatenate
from mlbench.training.compute import Compute
from mlbench.training.learner import Learner
from mlbench.training.loop import fit
from mlbench.training.optimizer import Training
from mlbench.training.theta import Theta


@dataclass
class GenerativeReplay(ReplayMethod):
    """Deep generative replay (Shin et al. 2017, section 3): a generator makes old pictures, the old network labels.

    After each task a new variational autoencoder (Kingma & Welling 2014) learns the task's pictures and those that the
    old generator makes, for `generator_steps` steps of Adam, rounded up to whole epochs (the paper's generators are
    adversarial). Task t counts 1/t in every loss, the t - 1 tasks before it the rest, whatever the number of replayed
    pictures.
    """

    latent: int
    hidden: int
    generator_steps: int
    generator_batch: int
    generator_lr: float

    scenarios = ("domain", "class")  # a dreamt picture has no task number that would name its outputs
    state_fields = ("learned",)
    frozen_networks = ("solver",)
    learned: ClassVar[int] = 0  # tasks so far

    def __post_init__(self):
        super().__post_init__()
        for name in ("latent", "hidden", "generator_steps", "generator_batch"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        require(0 < self.generator_lr < math.inf, "generator_lr", self.generator_lr, "above 0")

    def begin(self, stream: Stream, training: Training, compute: Compute, generator: torch.Generator) -> None:
        """Meet the stream; the first generator is never asked."""
        super().begin(stream, training, compute, generator)
        self.shape = stream.input_shape
        self.dreamer = self.new_dreamer()

    def new_dreamer(self) -> "VAE":
        """A generator that has learned nothing."""
        seed = self.generator.initial_seed() + self.learned  # the run's own, shifted
        with apart(self.compute.device, seed):  # as many draws whether it is made anew or for a resumed run
            return VAE(self.shape, self.hidden, self.latent).to(self.compute.device)

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy on new and dreamt examples, the tasks weighing the same."""
        if not self.learned:
            return super().loss(net, batch)
        old = self.dream(self.count)
        self.samples_replayed += self.count
        new, again = self.logits(net, concatenate(batch, old)).split([len(batch.y), len(old.y)])
        share = 1 / (self.learned + 1)
        return share * F.cross_entropy(new, batch.y) + (1 - share) * F.cross_entropy(again, old.y)

    @torch.no_grad()
    def dream(self, count: int) -> Batch:
        """`count` pictures of earlier tasks, with the old network's labels."""
        x = self.normalise(self.dreamer.dream(count, self.generator) * 255)
        task = torch.zeros(count, dtype=torch.int64, device=x.device)
        labels = self.heads.earlier(self.solver(x), self.learned)[:, 0].argmax(1)
        return Batch(x, labels, task)

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:  # noqa: ARG002
        """A new generator learns from the task and from the old one."""
        self.learned += 1
        old, self.dreamer = self.dreamer.eval(), self.new_dreamer()
        imitation = Imitation(old, self.normalise, 1 / self.learned, self.generator)
        steps_an_epoch = math.ceil(len(task.train) / self.generator_batch)
        training = dataclasses.replace(
            self.training,
            epochs=math.ceil(self.generator_steps / steps_an_epoch),
            batch_size=self.generator_batch,
            optimizer="adam",
            lr=self.generator_lr,
            weight_decay=0.0,
            schedule="constant",
            validation=0.0,
            patience=0,
        )
        fit(self.dreamer, task.train, imitation, training, self.compute, self.generator)
        self.solver = frozen_copy(net)

    def state(self) -> dict[str, Any]:
        """The generator besides."""
        return {**super().state(), "dreamer": self.dreamer.state_dict()}

    def load_state(self, state: dict[str, Any], net: nn.Module) -> nn.Module:
        """The generator has its structure since `begin`."""
        self.dreamer.load_state_dict(state.pop("dreamer"))
        return super().load_state(state, net)


@dataclass
class Imitation(Learner):
    """Trains a VAE on pictures, a share `new` of which are real, the rest dreamt by the `old` one."""

    lr_setting = "lifelong.generator_lr"

    old: "VAE"
    normalise: Normalise
    new: float
    generator: torch.Generator

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """The negative evidence lower bound."""
        real = (batch.x * self.normalise.std + self.normalise.mean) / 255
        loss = self.new * net.loss(real, self.generator)
        if self.new < 1:
            loss = loss + (1 - self.new) * net.loss(self.old.dream(len(real), self.generator), self.generator)
        return loss


class VAE(nn.Module):
    """A variational autoencoder of pictures [B, C, H, W] with values 0..1: one hidden layer on either side."""

    def __init__(self, shape: tuple[int, int, int], hidden: int, latent: int):
        super().__init__()
        self.shape, self.latent = shape, latent
        pixels = math.prod(shape)
        self.encode = nn.Sequential(nn.Flatten(), nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
        self.decode = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, pixels))

    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        """Standard normal codes [count, latent]."""
        place = self.decode[0].weight.device
        return torch.randn(count, self.latent, generator=generator).to(place)

    @torch.no_grad()
    def dream(self, count: int, generator: torch.Generator) -> Tensor:
        """New pictures [count, C, H, W] of 0..1."""
        return self.decode(self.noise(count, generator)).float().sigmoid().view(count, *self.shape)

    def loss(self, pictures: Tensor, generator: torch.Generator) -> Tensor:
        """Minus the evidence lower bound, nats a picture: cross-entropy of the pixels plus KL(code || normal)."""
        mean, log_variance = self.encode(pictures).float().chunk(2, 1)
        codes = mean + (log_variance / 2).exp() * self.noise(len(pictures), generator)
        pixels = self.decode(codes).float()
        surprise = F.binary_cross_entropy_with_logits(pixels, pictures.flatten(1), reduction="sum")
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum() / 2
        return (surprise + divergence) / len(pictures)
