"""What `fit` asks at each step: the hooks by which techniques differ."""

from collections.abc import Callable

from torch import Tensor, nn

from mlbench.data.split import Batch, Split
from mlbench.training.losses import weighted_cross_entropy
from mlbench.training.theta import Theta


class Learner:
    """What `fit` asks at each step. The defaults are plain training with cross-entropy."""

    lr_setting: str = "train.lr"  # the setting to make smaller where the loss is not finite any more
    class_weights: Tensor | None = None  # train.class_weights for the examples of the present fit, [C]; None: equal
    development: Split | None = None  # what early stopping goes by, where the run's own validation data do not fit
    samples_replayed: int = 0  # old examples passed through the network again, counted by those who do

    def logits(self, net: nn.Module, batch: Batch) -> Tensor:
        """The outputs [B, classes] that compete for each example."""
        return net(batch.x)

    def start(self, net: nn.Module, theta: Theta) -> None:
        """Before the first step of a fit, when theta has been laid out."""

    def batch(self, batch: Batch) -> Batch:
        """The examples to learn from instead of `batch` (replay adds some)."""
        return batch

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """The scalar to make small."""
        return weighted_cross_entropy(self.logits(net, batch), batch.y, self.class_weights)

    def validation_loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """The scalar on validation data that early stopping goes by."""
        return self.loss(net, batch)

    def adjust(self, net: nn.Module, theta: Theta) -> None:
        """Change `theta.grad` after the backward pass."""

    def after_step(self, net: nn.Module, theta: Theta, step_size: Callable[[], float | Tensor]) -> None:
        """Change `theta.value` after the optimiser's step.

        `step_size()` is how far a steady gradient of 1 moves a parameter in one step: a number for SGD, [P] for Adam.
        """

    def undecayed(self, net: nn.Module, theta: Theta, split: Split) -> list[slice]:  # noqa: ARG002
        """Pieces of the vector that weight decay must leave alone while learning `split`."""
        return []
