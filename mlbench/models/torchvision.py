"""Any classification network of torchvision."""

from torch import Tensor, nn


class Torchvision(nn.Module):
    """torchvision's network `name`, its last linear layer made to fit; grey pictures are shown as three channels.

    `weights` (such as DEFAULT) starts from downloaded ImageNet weights. Pictures [B, C, H, W] to logits [B, outputs].
    """

    def __init__(self, input_shape: tuple[int, int, int], outputs: int, name: str, weights: str | None = None):
        from torchvision.models import __name__ as classification
        from torchvision.models import get_model, list_models

        super().__init__()
        available = [model for model in list_models(module=None) if "/" not in model]
        if name not in available:
            raise ValueError(f"name={name}: torchvision's {classification} knows {', '.join(available[:8])}, ...")
        if input_shape[0] not in (1, 3):
            raise ValueError(f"needs 1 or 3 channels, these pictures have {input_shape[0]}")
        self.net = get_model(name, weights=weights)
        last = [(path, module) for path, module in self.net.named_modules() if isinstance(module, nn.Linear)]
        if not last:
            raise ValueError(f"name={name} does not end in a linear layer that could be made to fit")
        path, layer = last[-1]
        parent, _, attribute = path.rpartition(".")
        setattr(self.net.get_submodule(parent), attribute, nn.Linear(layer.in_features, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 1 or 3, H, W] to [B, outputs]."""
        return self.net(x.expand(-1, 3, -1, -1))
