"""Model randomisation test (Adebayo et al. 2018, section 3.1): layers are reinitialised from the top down."""

import copy

import numpy as np
from scipy.stats import rankdata
from torch import Tensor, nn

from mlbench.core.rng import apart
from mlbench.explain.base import Maps
from mlbench.models.initialisation import redraw_module

FAILS_FROM = 0.8  # rank correlation of sizes with the trained network's map, after the top layer alone


def cascade(
    net: nn.Module,
    x: Tensor,
    target: Tensor,
    of: Maps,
    seed: int,
    steps: int | None = None,
    before: Tensor | None = None,
) -> list[dict[str, object]]:
    """Similarity of maps before and after cascading randomisation.

    Args:
        net: The trained network.
        x: Inputs [B, C, H, W].
        target: Classes [B].
        of: Computes the maps.
        seed: Seed of the new weights.
        steps: How many maps are computed: of the top layer, and then of equal parts of the rest; None: of each layer.
        before: The maps of the trained network, where they are known.

    Returns:
        A row for each step, from the top layer down; all layers above are reinitialised as well. Columns: `layers`
        (how many), `layer` (the path of the lowest), and means over the examples of Spearman's `rho` of the signed
        maps, `abs_rho` and `ssim` of their absolute values. A value that is undefined for all examples is left out.
    """
    if not (every := layers(net)):
        return []
    before = of(net, x, target) if before is None else before
    changed, rows = copy.deepcopy(net), []
    wanted = {round(1 + (len(every) - 1) * step / (steps - 1)) for step in range(steps)} if steps else None
    for number, path in enumerate(reversed(every), start=1):
        with apart(x.device, seed + number):
            redraw_module(changed, path)
        if wanted is not None and number not in wanted:
            continue
        after = of(changed, x, target)
        rows.append({"layers": number, "layer": path, **similarity(before, after)})
    return rows


def layers(net: nn.Module) -> list[str]:
    """Paths of the modules that hold parameters themselves, or can be reinitialised, from the input to the output."""
    modules = net.named_modules()
    return [path for path, module in modules if hasattr(module, "reset_parameters") or holds_parameters(module)]


def holds_parameters(module: nn.Module) -> bool:
    """Whether a module has parameters beside those of the modules inside it."""
    return any(True for _ in module.parameters(recurse=False))


def similarity(one: Tensor, other: Tensor) -> dict[str, float]:
    """Means over the examples of the similarities of maps [B, C, H, W]."""
    from skimage.metrics import structural_similarity

    one, other = (maps.detach().sum(1).cpu().double().numpy() for maps in (one, other))  # [B, H, W]
    sides = one.shape[1:]
    window = min(7, *(side - 1 + side % 2 for side in sides))  # odd
    pairs = zip(scaled(one), scaled(other), strict=True)
    similar = []  # one pixel has no structure
    if window > 1:
        similar = [structural_similarity(a, b, data_range=1.0, win_size=window) for a, b in pairs]
    scores = {
        "rho": mean(correlation(one, other)),
        "abs_rho": mean(correlation(abs(one), abs(other))),
        "ssim": mean(np.array(similar)),
    }
    return {name: value for name, value in scores.items() if value is not None}


def scaled(maps: np.ndarray) -> np.ndarray:
    """Absolute values [B, H, W], divided by the largest of each map."""
    size = abs(maps)
    return size / np.maximum(size.max((1, 2), keepdims=True), 1e-300)


def correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Spearman's rho [B] of maps [B, H, W]; NaN for a constant map."""
    ranks = [rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (one, other)]
    a, b = (rank - rank.mean(1, keepdims=True) for rank in ranks)
    with np.errstate(invalid="ignore"):
        return (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))


def mean(values: np.ndarray) -> float | None:
    """The mean of the finite values, None if there are none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None
