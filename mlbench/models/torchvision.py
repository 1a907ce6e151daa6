"""The classification networks of torchvision."""

import difflib
import warnings

from torch import Tensor, nn

AUXILIARY = {"aux1", "aux2", "AuxLogits"}  # of GoogLeNet and Inception


class Torchvision(nn.Module):
    """A classification network of torchvision with a new last layer, from pictures [B, C, H, W] to logits [B, outputs].

    Args:
        input_shape: Channels, height and width of a picture; a single channel is repeated three times.
        outputs: Number of classes.
        name: Name of the network in torchvision.
        weights: Name of its ImageNet weights to download, such as DEFAULT; None: fresh ones.

    Raises:
        ValueError: For an unknown name, for weights that cannot be loaded, and for networks or pictures that do not
            fit.
    """

    def __init__(self, input_shape: tuple[int, int, int], outputs: int, name: str, weights: str | None = None):
        from torchvision import models

        super().__init__()
        available = models.list_models(module=models)
        if name not in available:
            close = difflib.get_close_matches(name, available, n=1)
            nearest = f" did you mean '{close[0]}'?" if close else ""
            raise ValueError(f"name={name}: torchvision knows {', '.join(available[:8])}, ...{nearest}")
        if input_shape[0] not in (1, 3):
            raise ValueError(f"needs 1 or 3 channels, these pictures have {input_shape[0]}")
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "The default weight initialization", FutureWarning)  # its own matter
                self.net = models.get_model(name, weights=weights)
        except (KeyError, OSError) as error:
            raise ValueError(f"weights={weights} of {name} cannot be had ({error})") from error
        if getattr(self.net, "aux_logits", False):  # classifiers half way, for a loss that nothing here asks for
            self.net.aux_logits = False
            for part in AUXILIARY & dict(self.net.named_children()).keys():
                setattr(self.net, part, None)
        last = [(path, module) for path, module in self.net.named_modules() if isinstance(module, nn.Linear)]
        if not last:
            raise ValueError(f"name={name} does not end in a linear layer that could be made to fit")
        path, layer = last[-1]
        parent, _, attribute = path.rpartition(".")
        setattr(self.net.get_submodule(parent), attribute, nn.Linear(layer.in_features, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """The logits [B, outputs] of pictures [B, 1 or 3, H, W]."""
        return self.net(x.expand(-1, 3, -1, -1))
