"""Transforms that turn pictures of the pool into those of a task: permutations and rotations."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Permutation(nn.Module):
    """Pixel permutations, `orders` [tasks, H * W]: pixel i of task t is pixel orders[t, i] of the picture."""

    orders: Tensor  # [tasks, H * W] int64

    def __init__(self, orders: Tensor):
        super().__init__()
        self.register_buffer("orders", orders)

    def reorder(self, order: list[int]) -> "Permutation":
        """Return the same transform with the tasks in another order."""
        return Permutation(self.orders[order])

    def forward(self, pictures: Tensor, task: int | Tensor) -> Tensor:
        """Permute pictures, uint8 [B, C, H, W], of one task or of a task for each picture [B]."""
        flat = pictures.flatten(2)
        if isinstance(task, int):
            return flat.index_select(2, self.orders[task]).view_as(pictures)
        return flat.gather(2, self.orders[task].unsqueeze(1).expand_as(flat)).view_as(pictures)


class Rotation(nn.Module):
    """Turns by `degrees` [tasks], counter-clockwise about the centre, bilinear, black where nothing was."""

    degrees: Tensor  # [tasks]

    def __init__(self, degrees: Tensor):
        super().__init__()
        self.register_buffer("degrees", degrees)

    def reorder(self, order: list[int]) -> "Rotation":
        """Return the same transform with the tasks in another order."""
        return Rotation(self.degrees[order])

    def forward(self, pictures: Tensor, task: int | Tensor) -> Tensor:
        """Rotate pictures, uint8 [B, C, H, W], of one task or of a task for each picture [B]."""
        angle = (self.degrees[task] * (math.pi / 180)).reshape(-1).expand(len(pictures))
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        aspect = pictures.shape[2] / pictures.shape[3]
        rows = [cos, -sin * aspect, zero, sin / aspect, cos, zero]
        matrix = torch.stack(rows, 1).view(-1, 2, 3)
        grid = F.affine_grid(matrix, list(pictures.shape), align_corners=False)
        turned = F.grid_sample(pictures.float(), grid, align_corners=False)
        return turned.round_().to(torch.uint8)
