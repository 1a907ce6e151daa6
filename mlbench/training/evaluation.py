"""Accuracy and loss of a network on a split."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.data.split import Split
from mlbench.training.module_modes import eval_mode
from mlbench.training.per_example_gradients import Logits

EVALUATION_BYTES = {"cpu": 3 * 2**20, "cuda": 64 * 2**20}  # 1,000 MNIST pictures as floats beat 10,000 on a CPU


def answers(net: nn.Module, split: Split, logits: Logits) -> Iterator[tuple[Tensor, Tensor]]:
    """(outputs [b, classes] that compete, labels [b]) of every example of `split`, chunk by chunk, in eval mode."""
    device = split.labels.device
    example = split.pool.examples[0].numel() * 4
    size = max(1, EVALUATION_BYTES["cuda" if device.type == "cuda" else "cpu"] // example)
    size = min(size, split.pool.modality.evaluation_limit or size)
    with eval_mode(net), torch.inference_mode():
        for index in split.chunks(size):
            batch = split.batch(index)
            yield logits(net, batch).float(), batch.y


def accuracy(net: nn.Module, split: Split, logits: Logits) -> float:
    """The share of examples whose highest output is their label; a class that does not compete yet counts as wrong."""
    correct = [(outputs.argmax(1) == labels).sum() for outputs, labels in answers(net, split, logits)]
    return int(torch.stack(correct).sum()) / len(split)


def mean_loss(net: nn.Module, split: Split, logits: Logits) -> float:
    """The mean cross-entropy; infinite or NaN where the outputs are."""
    losses = [F.cross_entropy(outputs, labels, reduction="sum") for outputs, labels in answers(net, split, logits)]
    return torch.stack(losses).cpu().double().sum().item() / len(split)
