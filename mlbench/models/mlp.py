"""Fully connected networks."""

import math

from torch import nn


class Linear(nn.Sequential):
    """Softmax regression: one linear layer, from examples [B, ...] to logits [B, outputs]."""

    def __init__(self, input_shape: tuple[int, int, int], outputs: int):
        super().__init__(nn.Flatten(), nn.Linear(math.prod(input_shape), outputs))


class MLP(nn.Sequential):
    """A multi-layer perceptron with ReLUs, from examples [B, ...] to logits [B, outputs].

    Args:
        input_shape: Shape of an example; it is flattened.
        outputs: Number of classes.
        hidden: Width of each hidden layer.
        dropout: Probability of dropout behind each ReLU; 0 leaves it out.
        batch_norm: Whether to put batch norm in front of each ReLU.

    Raises:
        ValueError: For a hidden layer without units.
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        outputs: int,
        hidden: list[int],
        dropout: float = 0.0,
        batch_norm: bool = False,
    ):
        if any(width < 1 for width in hidden):
            raise ValueError(f"hidden={list(hidden)}: widths are 1 or more")
        layers: list[nn.Module] = [nn.Flatten()]
        width = math.prod(input_shape)
        for following in hidden:
            layers.append(nn.Linear(width, following))
            if batch_norm:
                layers.append(nn.BatchNorm1d(following))
            layers.append(nn.ReLU())
            if dropout:
                layers.append(nn.Dropout(dropout))
            width = following
        super().__init__(*layers, nn.Linear(width, outputs))
