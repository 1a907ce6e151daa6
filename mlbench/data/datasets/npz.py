"""Pictures in a file of the user's own."""

from dataclasses import dataclass
from pathlib import Path

from mlbench.core.user_path import user_path
from mlbench.data.dataset import Arrays, Source
from mlbench.data.npz_format import read_npz


@dataclass(kw_only=True)
class Npz(Source):
    """The file `path` in mlbench's format: x_train uint8 [N, H, W] or [N, H, W, C], y_train, x_test, y_test.

    It may hold x_val and y_val, for validation, and `classes`, their names.
    """

    path: str

    def files(self, data_dir: Path) -> list[Path]:
        """The file: a path that is not absolute is looked up here first, then in `data_dir`."""
        here = user_path(self.path)
        return [here if here.exists() else data_dir / here]

    def load(self, data_dir: Path) -> Arrays:
        """Read the file."""
        return read_npz(*self.files(data_dir))
