"""Fresh weights for a network, wherever its present ones come from."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

HUGGING_FACE = "transformers.modeling_utils", "PreTrainedModel"
LOADED = "_is_hf_initialized"  # its mark of parameters that its initialisation passes over


@torch.no_grad()
def redraw(net: nn.Module) -> list[str]:
    """Draw every parameter of a network anew, in place, from torch's global generator; reset running statistics.

    Each module draws its own: by `reset_parameters`, `_reset_parameters` (attention) or `reset_running_stats`, and by
    `_init_weights` inside a model of Hugging Face, a module after those inside it. What no module's initialisation
    reaches, such as the position embeddings of torchvision's transformers, is normal with the mean and the standard
    deviation of its present values (a single number x: with mean x and standard deviation |x|). Parameters whose
    values are all equal and that no module changes stay what they are, such as the ones and zeros of a norm.
    Parameters that share a tensor still do.

    Returns:
        The names of the parameters that no module's initialisation reaches.
    """
    return redrawn(net, list(children_first(net)), [name for name, _ in net.named_parameters()])


@torch.no_grad()
def redraw_module(net: nn.Module, path: str) -> list[str]:
    """The same for the parameters that the module at `path` holds itself, without the modules inside it."""
    prefix = f"{path}." if path else ""
    return redrawn(net, [path], [prefix + name for name, _ in net.get_submodule(path).named_parameters(recurse=False)])


def redrawn(net: nn.Module, paths: list[str], names: list[str]) -> list[str]:
    """Initialise the modules at `paths`, then those parameters of `names` that did not change; the names of these."""
    before = {name: net.get_parameter(name).clone() for name in names}
    for path in paths:
        initialise(net, path)
    unreached = [name for name in names if torch.equal(net.get_parameter(name), before[name])]
    return [name for name in unreached if draw_alike(net.get_parameter(name), holder(net, name))]


def initialise(net: nn.Module, path: str) -> None:
    """What the module at `path` does to draw its weights, if anything."""
    module = net.get_submodule(path)
    for parameter in module.parameters(recurse=False):
        if hasattr(parameter, LOADED):
            delattr(parameter, LOADED)
    for name in ("reset_parameters", "_reset_parameters"):
        if hasattr(module, name):
            getattr(module, name)()
    if hasattr(module, "reset_running_stats"):
        module.reset_running_stats()
    if (model := hugging_face_model(net, path)) is not None:
        model._init_weights(module)


def has_initialisation(net: nn.Module, path: str) -> bool:
    """Whether the module at `path` draws weights by itself."""
    module = net.get_submodule(path)
    own = any(hasattr(module, name) for name in ("reset_parameters", "_reset_parameters"))
    return own or hugging_face_model(net, path) is not None


def hugging_face_model(net: nn.Module, path: str) -> nn.Module | None:
    """The innermost model of Hugging Face that the module at `path` is, or is a part of."""
    while True:
        module = net.get_submodule(path)
        if HUGGING_FACE in ((base.__module__, base.__name__) for base in type(module).__mro__):
            return module
        if not path:
            return None
        path = path.rpartition(".")[0]


def holder(net: nn.Module, name: str) -> bool:
    """Whether the module that holds the parameter `name` draws weights by itself."""
    return has_initialisation(net, name.rpartition(".")[0])


def draw_alike(parameter: nn.Parameter, initialised: bool) -> bool:
    """Draw normal numbers like those of a parameter; False, and no change, where there is nothing to draw.

    Args:
        parameter: Is changed in place.
        initialised: Whether its module draws weights: a single number that it left is what it always begins with.
    """
    single = parameter.numel() == 1
    if not parameter.is_floating_point() or not parameter.numel() or (single and initialised):
        return False
    values = parameter.double()
    if not single and (values == values.flatten()[0]).all():
        return False
    mean = values.mean().item()
    std = abs(mean) if single else values.std(correction=0).item()
    parameter.normal_(mean, std)
    return std > 0


def children_first(net: nn.Module) -> Iterator[str]:
    """The path of every module once, behind those of the modules inside it."""
    seen: set[nn.Module] = set()

    def below(module: nn.Module, path: str) -> Iterator[str]:
        seen.add(module)
        for name, child in module.named_children():
            if child not in seen:
                yield from below(child, f"{path}.{name}" if path else name)
        yield path

    return below(net, "")


def comes_with_weights(net: nn.Module, other: nn.Module) -> bool:
    """Whether weights of a network were loaded, and not drawn.

    Args:
        net: The network as its class builds it.
        other: The same, built from another seed.

    Returns:
        True if the two agree in all values of a parameter or running statistic that holds more than two different
        values (ones, zeros and identities are the same in every fresh network). A frozen parameter of a module that
        draws no weights is no sign: it may be computed, as the sines of a position.
    """
    twins = {**dict(other.named_parameters(remove_duplicate=False)), **dict(other.named_buffers())}
    return any(
        torch.equal(value, twins[name]) and varied(value)
        for name, value in signs_of_loading(net).items()
        if name in twins
    )


def signs_of_loading(net: nn.Module) -> dict[str, Tensor]:
    """Name -> parameter or running statistic that differs in every fresh network, unless it is constant."""
    signs: dict[str, Tensor] = {}
    for path, module in net.named_modules():
        prefix, draws = f"{path}." if path else "", has_initialisation(net, path)
        own = {name: value for name, value in module.named_parameters(recurse=False) if value.requires_grad or draws}
        own |= {name: value for name, value in module.named_buffers(recurse=False) if name.startswith("running_")}
        signs |= {prefix + name: value for name, value in own.items()}
    return signs


def varied(tensor: Tensor) -> bool:
    """Whether it holds more than two different values."""
    if not tensor.numel():
        return False
    return bool(((tensor != tensor.min()) & (tensor != tensor.max())).any())
