"""Data to choose settings by: training pictures alone, the last of which take the place of the test set."""

from pathlib import Path

import numpy as np

from mlbench.data.dataset import Arrays

SHARE = 1 / 6  # of the training pictures, MNIST's last 10,000


def write_development(arrays: Arrays, path: Path, shuffled: bool = True) -> Path:
    """Write an npz file in mlbench's format and give back its path; test pictures are not in it.

    Unless they are not to be `shuffled`, the training pictures are first, always in the same way: some sets lie in
    order.
    """
    order = np.arange(len(arrays.y_train))
    if shuffled:
        np.random.default_rng(0).shuffle(order)
    x = arrays.x_train.permute(0, 2, 3, 1).numpy()[order]  # [N, H, W, C]
    y, first = arrays.y_train.numpy()[order], len(order) - round(SHARE * len(order))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, x_train=x[:first], y_train=y[:first], x_test=x[first:], y_test=y[first:], classes=arrays.classes)
    return path
