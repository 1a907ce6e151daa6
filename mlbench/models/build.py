"""How a network is made from its config node, for examples and a number of outputs."""

from torch import nn

from mlbench.core.buildable import locate
from mlbench.core.instantiate import Blueprint, takes
from mlbench.models.logits import with_logits
from mlbench.models.surgery import last_linear, path_of, put


def build_model(blueprint: Blueprint, shape: tuple[int, ...], outputs: int) -> nn.Module:
    """A fresh network whose calls give logits [B, outputs].

    Args:
        blueprint: The config node. A class or function of the user's own that takes no `outputs` gets a new last
            linear layer where it has another number of them.
        shape: Of an example.
        outputs: Number of classes.

    Raises:
        UserError: For settings that are wrong, or do not go with such examples.
    """
    net = blueprint.build(nn.Module, input_shape=shape, outputs=outputs)
    target = blueprint.node._target_
    if not takes(locate(target, nn.Module, blueprint.path, blueprint.config_dirs), "outputs"):
        fit_outputs(net, outputs)
    return with_logits(net, outputs)


def fit_outputs(net: nn.Module, outputs: int) -> None:
    """Put a new last linear layer where this has another number of outputs; a network without one is left alone."""
    layer = last_linear(net)
    if layer is not None and layer.out_features != outputs:
        put(net, path_of(net, layer), nn.Linear(layer.in_features, outputs, layer.bias is not None))
