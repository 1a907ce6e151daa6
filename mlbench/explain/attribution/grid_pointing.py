"""The grid pointing game: pictures of different classes in one, whose maps should stay in their own cells.

No labels are needed, and a map that does not depend on the class scores exactly 1/4, whatever it shows.
"""

from collections.abc import Callable
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.explain.base import LARGE, Maps, strength

SIDE = 2  # cells of a grid
CELLS = SIDE**2
MOST = 4  # grids
ClassMaps = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Network, inputs [B, C, H, W] and classes [B, K] -> signed maps [B, K, C, H, W] or [B, K, 1, H, W]."""


def of_classes(maker: Maps) -> ClassMaps:
    """The maps of several classes of the same inputs, one class after the other."""
    return lambda net, x, targets: torch.stack([maker(net, x, target) for target in targets.unbind(1)], 1)


def can_be_played(x: Tensor, target: Tensor) -> bool:
    """Whether there are pictures of enough classes, of sides that can be halved and are large enough for that."""
    height, width = x.shape[2:]
    enough = len(target.unique()) >= CELLS
    return enough and min(height, width) >= 2 * LARGE and height % SIDE == 0 and width % SIDE == 0


def draw_grids(target: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures of different classes for up to MOST grids, numbers [g, CELLS], in random order."""
    classes = target.tolist()
    options = [each for each in combinations(range(len(classes)), CELLS) if len({classes[k] for k in each}) == CELLS]
    order = torch.randperm(len(options), generator=generator)[:MOST]
    places = torch.tensor(options)[order]
    mixed = torch.stack([torch.randperm(CELLS, generator=generator) for _ in places])
    return places.gather(1, mixed).to(target.device)


def tiled(pictures: Tensor) -> Tensor:
    """A grid [C, H, W] of pictures [CELLS, C, H, W], each of half the sides."""
    small = F.avg_pool2d(pictures, SIDE)
    rows = [torch.cat(list(row), 2) for row in small.split(SIDE)]
    return torch.cat(rows, 1)


def play(
    net: nn.Module, x: Tensor, target: Tensor, grids: Tensor, maker: ClassMaps, amounts: bool
) -> list[dict[str, float]]:
    """The scores of a method in each grid (Boehle et al. 2021, section 4.1).

    Args:
        net: Maps inputs to logits [B, outputs].
        x: Pictures [n, C, H, W].
        target: The class of each, [n].
        grids: Numbers of the pictures in the cells of each grid, [g, CELLS].
        maker: Makes the maps of a grid for the classes of all of its cells.
        amounts: Whether positive values of the maps speak for the class; else their sizes count.

    Returns:
        Of each grid `pointing`, the share of the positive relevance that lies in the cell of the class, over all
        classes; `largest`, how often that cell has the largest share; `neighbour`, the share in a cell of the map of
        the next cell's class; and `rank`, the mean rank of the classes among the network's answers to the grid.
    """
    rows = []
    for places in grids:
        grid, classes = tiled(x[places])[None], target[places]
        maps = maker(net, grid, classes[None])[0]  # [CELLS, C or 1, H, W]
        positive = maps.sum(1).clamp(min=0) if amounts else strength(maps)  # [CELLS, H, W]
        height, width = (side // SIDE for side in positive.shape[1:])
        cells = F.avg_pool2d(positive[:, None], (height, width)).flatten(1)  # [class, cell]
        shares = cells / cells.sum(1, keepdim=True)
        with torch.no_grad():
            logits = net(grid)[0]
        ranks = (logits > logits[classes][:, None]).sum(1) + 1
        rows.append(
            {
                "pointing": shares.diagonal().mean().item(),
                "largest": (shares.argmax(1) == torch.arange(CELLS, device=x.device)).float().mean().item(),
                "neighbour": shares.roll(1, 0).diagonal().mean().item(),
                "rank": ranks.float().mean().item(),
            }
        )
    return rows
