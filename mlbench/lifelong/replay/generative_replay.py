"""Generative replay: examples of earlier tasks come from a generator, not from a buffer."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.core.rng import apart
from mlbench.data.modality import Pictures
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
    """Deep generative replay (Shin et al. 2017, section 3): generated old pictures, with labels of the old network.

    After each task a new variational autoencoder (Kingma & Welling 2014) learns the pictures of the task and those that
    the old one generates, for `generator_steps` steps of Adam, rounded up to whole epochs. The paper's generators are
    adversarial networks. In every loss task t has the weight 1/t, and the t - 1 earlier tasks have the rest, whatever
    the number of replayed pictures.

    Args:
        latent: Length of the code of a picture, at least 1.
        hidden: Units in each hidden layer of the generator, at least 1.
        generator_steps: Steps of the generator's training after each task, at least 1.
        generator_batch: Batch size of that training, at least 1.
        generator_lr: Learning rate of that training, above 0.
    """

    latent: int
    hidden: int
    generator_steps: int
    generator_batch: int
    generator_lr: float

    modalities = (Pictures,)  # the generator's outputs are grey values
    scenarios = ("domain", "class")  # a generated picture has no task, so that it could not choose a head
    state_fields = ("learned",)
    frozen_networks = ("solver",)
    shortest = {"generator_steps": 1, "generator_lr": 1e-6}
    learned: ClassVar[int] = 0  # tasks so far

    def __post_init__(self):
        super().__post_init__()
        for name in ("latent", "hidden", "generator_steps", "generator_batch"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        require(0 < self.generator_lr < math.inf, "generator_lr", self.generator_lr, "above 0")

    def begin(self, stream: Stream, training: Training, compute: Compute, generator: torch.Generator) -> None:
        """Make the first generator, from which nothing is sampled."""
        super().begin(stream, training, compute, generator)
        self.shape = stream.input_shape
        self.vae = self.new_vae()

    def new_vae(self) -> "VAE":
        """An untrained generator, initialised from the seed of the run and the number of tasks learned."""
        seed = self.generator.initial_seed() + self.learned
        with apart(self.compute.device, seed):  # takes no draws from the run, so that a resumed run is the same
            return VAE(self.shape, self.hidden, self.latent).to(self.compute.device)

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy on new and on generated examples, all tasks having the same weight."""
        if not self.learned:
            return super().loss(net, batch)
        old = self.generate(self.count)
        self.samples_replayed += self.count
        new, replayed = self.logits(net, concatenate(batch, old)).split([len(batch.y), len(old.y)])
        share = 1 / (self.learned + 1)
        return share * F.cross_entropy(new, batch.y) + (1 - share) * F.cross_entropy(replayed, old.y)

    @torch.no_grad()
    def generate(self, count: int) -> Batch:
        """`count` generated pictures of earlier tasks, labelled by the old network."""
        x = self.normalise(self.vae.sample(count, self.generator) * 255)
        task = torch.zeros(count, dtype=torch.int64, device=x.device)
        labels = self.heads.earlier(self.solver(x), self.learned)[:, 0].argmax(1)
        return Batch(x, labels, task)

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:  # noqa: ARG002
        """Train a new generator on the task and on samples of the old one."""
        self.learned += 1
        old, self.vae = self.vae.eval(), self.new_vae()
        learner = VAELearner(old, self.normalise, 1 / self.learned, self.generator)
        steps_per_epoch = math.ceil(len(task.train) / self.generator_batch)
        training = dataclasses.replace(
            self.training,
            epochs=math.ceil(self.generator_steps / steps_per_epoch),
            batch_size=self.generator_batch,
            optimizer="adam",
            lr=self.generator_lr,
            weight_decay=0.0,
            schedule="constant",
            validation=0.0,
            patience=0,
        )
        fit(self.vae, task.train, learner, training, self.compute, self.generator)
        self.samples_replayed += learner.samples_replayed
        self.solver = frozen_copy(net)

    def state(self) -> dict[str, Any]:
        """The state of any method and the generator, whose key is older than the name of the attribute."""
        return {**super().state(), "dreamer": self.vae.state_dict()}

    def load_state(self, state: dict[str, Any], net: nn.Module) -> nn.Module:
        """Restore the generator, which `begin` has built, and the rest."""
        self.vae.load_state_dict(state.pop("dreamer"))
        return super().load_state(state, net)


@dataclass
class VAELearner(Learner):
    """Trains a VAE on real pictures, with the weight `share` in the loss, and on samples of the `old` one."""

    lr_setting = "lifelong.generator_lr"

    old: "VAE"
    normalise: Normalise
    share: float
    generator: torch.Generator

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """The negative evidence lower bound."""
        real = (batch.x * self.normalise.std + self.normalise.mean) / 255
        loss = self.share * net.loss(real, self.generator)
        if self.share < 1:
            self.samples_replayed += len(real)
            loss = loss + (1 - self.share) * net.loss(self.old.sample(len(real), self.generator), self.generator)
        return loss


class VAE(nn.Module):
    """A variational autoencoder of pictures [B, C, H, W] with values 0..1, with one hidden layer on either side.

    Args:
        shape: (C, H, W) of a picture.
        hidden: Units in each hidden layer.
        latent: Length of a code.
    """

    def __init__(self, shape: tuple[int, int, int], hidden: int, latent: int):
        super().__init__()
        self.shape, self.latent = shape, latent
        pixels = math.prod(shape)
        self.encode = nn.Sequential(nn.Flatten(), nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
        self.decode = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, pixels))

    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        """Standard normal numbers [count, latent]."""
        device = self.decode[0].weight.device
        return torch.randn(count, self.latent, generator=generator).to(device)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Generated pictures [count, C, H, W] with values 0..1."""
        return self.decode(self.noise(count, generator)).float().sigmoid().view(count, *self.shape)

    def loss(self, pictures: Tensor, generator: torch.Generator) -> Tensor:
        """The negative evidence lower bound in nats per picture: pixel cross-entropy plus KL(code || normal)."""
        mean, log_variance = self.encode(pictures).float().chunk(2, 1)
        codes = mean + (log_variance / 2).exp() * self.noise(len(pictures), generator)
        pixels = self.decode(codes).float()
        reconstruction = F.binary_cross_entropy_with_logits(pixels, pictures.flatten(1), reduction="sum")
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum() / 2
        return (reconstruction + divergence) / len(pictures)
