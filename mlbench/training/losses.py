"""Learning another network's answers."""

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
