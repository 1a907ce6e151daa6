"""How a network is made from its config node, for examples and a number of outputs."""

from dataclasses import replace

from omegaconf import DictConfig, OmegaConf
from torch import nn

from mlbench.core.buildable import locate
from mlbench.core.errors import UserError
from mlbench.core.instantiate import Blueprint, takes
from mlbench.models.logits import with_logits
from mlbench.models.surgery import last_linear, path_of, put

ABOUT_WEIGHTS = ("weights", "outputs", "size", "mean", "std", "classes")  # of a network that was trained elsewhere
FREEZE = "freeze"


def architecture(node: DictConfig) -> DictConfig:
    """What builds the network, of all that a model's node holds."""
    others = {FREEZE, *(ABOUT_WEIGHTS if set(ABOUT_WEIGHTS) <= set(node) else ())}
    built = OmegaConf.masked_copy(node, [key for key in node if key not in others])
    built._set_parent(node._get_parent())  # interpolations begin at the root
    return built


def build_model(blueprint: Blueprint, shape: tuple[int, ...], outputs: int) -> nn.Module:
    """A fresh network whose calls give logits [B, outputs].

    Args:
        blueprint: The config node. A class or function of the user's own that takes no `outputs` gets a new last
            linear layer where it has another number of them.
        shape: Of an example.
        outputs: Number of classes.

    Raises:
        UserError: For settings that are wrong, or do not go with such examples, and where the node tells of weights:
            a fresh network has none.
    """
    plain = architecture(blueprint.node)
    for name in blueprint.node:
        if name not in plain and blueprint.node[name] is not None:
            raise UserError(
                f"{blueprint.path}.{name} means nothing here, where the network begins anew; set it to null"
            )
    blueprint = replace(blueprint, node=plain)
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
