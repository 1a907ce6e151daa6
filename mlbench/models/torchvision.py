"""Any classification network of torchvision."""

import difflib

from torch import Tensor, nn


class Torchvision(nn.Module):
    """torchvision's network `name`, its last linear layer made to fit; grey pictures are shown as three channels.

    `weights` (such as DEFAULT) starts from downloaded ImageNet weights. Pictures [B, C, H, W] to logits [B, outputs].
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
            self.net = models.get_model(name, weights=weights)
        except (KeyError, OSError) as error:
            raise ValueError(f"weights={weights} of {name} cannot be had ({error})") from error
        last = [(path, module) for path, module in self.net.named_modules() if isinstance(module, nn.Linear)]
        if not last:
            raise ValueError(f"name={name} does not end in a linear layer that could be made to fit")
        path, layer = last[-1]
        parent, _, attribute = path.rpartition(".")
        setattr(self.net.get_submodule(parent), attribute, nn.Linear(layer.in_features, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 1 or 3, H, W] to [B, outputs]."""
        return self.net(x.expand(-1, 3, -1, -1))
