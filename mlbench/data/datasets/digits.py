"""scikit-learn's handwritten digits: real, small, inside the installed package."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlbench.data.dataset import Arrays, Source
from mlbench.data.npz_format import check_arrays


@functools.cache  # a job of a sweep takes a third of a second, and the file is text
def raw_digits() -> tuple[np.ndarray, np.ndarray]:
    """Grey values 0..16 [n, 64] and classes [n]; not to be changed."""
    from sklearn.datasets import load_digits

    pictures, labels, *_ = load_digits(return_X_y=True)
    return np.asarray(pictures), np.asarray(labels)


@dataclass(kw_only=True)
class Digits(Source):
    """1,797 pictures of 8x8 pixels by 43 writers (Alpaydin & Kaynak 1998), a stratified fifth of them for testing."""

    def load(self, data_dir: Path) -> Arrays:  # noqa: ARG002
        """The same split always; grey values 0..16 become 0..240."""
        from sklearn.model_selection import train_test_split

        pictures, labels = raw_digits()
        pictures = (pictures.reshape(-1, 8, 8) * 15).astype(np.uint8)
        names = ("x_train", "x_test", "y_train", "y_test")
        parts = train_test_split(pictures, labels, test_size=0.2, random_state=0, stratify=labels)
        return check_arrays(dict(zip(names, parts, strict=True)), Path("scikit-learn's digits"))
