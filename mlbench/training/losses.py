"""Losses, and the weights of classes in them."""

import torch
import torch.nn.functional as F
from torch import Tensor


def distillation(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 * KL(teacher || student) of softmax(logits / T), the mean over examples (Hinton et al. 2015, section 2).

    Both are [B, ..., classes]; where there are groups of classes between, their divergences add up. The factor T^2
    keeps the size of the gradients as T grows. In single precision also where the logits are not: the divergence of
    networks that nearly agree is less than bfloat16 can tell.
    """
    student = F.log_softmax(logits.float() / temperature, -1)
    target = F.log_softmax(teacher.float() / temperature, -1)
    return F.kl_div(student, target, reduction="sum", log_target=True) * (temperature**2 / len(logits))


def class_weights(setting: str | list[float], labels: Tensor) -> Tensor | None:
    """Return the weights of classes in the cross-entropy that `train.class_weights` asks for.

    Args:
        setting: `none`; `balanced` weighs class c by n / (k * n_c), where n_c of n examples are of it and k classes
            have examples, so that each of them weighs the same (King & Zeng 2001; scikit-learn's `balanced`); or the
            weight of each class.
        labels: Of the examples to learn from, [n].

    Returns:
        The weight of each class up to the largest label, 1 where there is no example, on the device of `labels`; None
        for equal weights.
    """
    if setting == "none":
        return None
    if isinstance(setting, list):
        return torch.tensor(setting, dtype=torch.float32, device=labels.device)
    counts = torch.bincount(labels).double()
    present = counts > 0
    return torch.where(present, len(labels) / (present.sum() * counts.clamp(min=1)), 1.0).float()


def weighted_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """Return the cross-entropy of logits [B, C] and labels [B], the mean over examples weighed by their class.

    `weights` may have fewer than C entries; further classes have weight 1.
    """
    if weights is not None and len(weights) < logits.shape[1]:
        weights = F.pad(weights, (0, logits.shape[1] - len(weights)), value=1.0)
    return F.cross_entropy(logits, labels, weight=weights)
