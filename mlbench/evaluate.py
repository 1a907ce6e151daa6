"""Accuracy and loss of a network on a split."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.data.tasks import Batch, Split

EVALUATION_BYTES = {"cpu": 3 * 2**20, "cuda": 64 * 2**20}  # 1,000 MNIST pictures as floats beat 10,000 on a CPU


@torch.inference_mode()
def evaluate(net: nn.Module, split: Split, logits: Callable[[nn.Module, Batch], Tensor]) -> tuple[float, float]:
    """(accuracy as a fraction, mean cross-entropy) of `net` in eval mode over every example of `split`.

    `logits(net, batch)` gives the outputs [B, classes] that compete. A label that does not compete (a class not met
    yet) counts as wrong, and its loss as infinite.
    """
    mode = net.training
    net.eval()
    device = split.labels.device
    example = split.pool.pictures[0].numel() * 4
    size = max(1, EVALUATION_BYTES["cuda" if device.type == "cuda" else "cpu"] // example)
    correct = torch.zeros((), dtype=torch.int64, device=device)
    losses = []
    for index in torch.arange(len(split), device=device).split(size):
        batch = split.batch(index)
        outputs = logits(net, batch).float()
        correct += (outputs.argmax(1) == batch.y).sum()
        losses.append(missing_as_infinite(outputs, batch.y))
    net.train(mode)
    return correct.item() / len(split), torch.stack(losses).cpu().double().sum().item() / len(split)


def missing_as_infinite(outputs: Tensor, labels: Tensor) -> Tensor:
    """Summed cross-entropy; infinite when a label has no output."""
    known = labels < outputs.shape[1]
    if not known.all():
        return torch.full((), torch.inf, device=outputs.device)
    return F.cross_entropy(outputs, labels, reduction="sum")
