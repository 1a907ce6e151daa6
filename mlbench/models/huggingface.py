"""Classification networks for pictures in the format of Hugging Face's transformers."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mlbench.core.errors import UserError, first_line, need
from mlbench.core.input_files import read_json
from mlbench.core.quiet import errors_only
from mlbench.core.user_path import user_path
from mlbench.models.bert import no_bars
from mlbench.models.network_record import NetworkRecord

WEIGHTS = ("*.json", "*.safetensors")  # what is fetched from the hub
PREPROCESSOR = "preprocessor_config.json"
CLIENT = "huggingface_hub"  # the hub's, whose logger tells of every attempt


class HuggingFace(nn.Module):
    """A network for pictures from a folder of Hugging Face, from pictures [B, C, H, W] to logits [B, outputs].

    Args:
        input_shape: Channels, height and width of a picture.
        outputs: Number of classes.
        name: The folder, or a name on Hugging Face's hub, with config.json.

    Raises:
        ValueError: For a folder that describes no classifier of pictures, and for pictures that do not fit.
    """

    def __init__(self, input_shape: tuple[int, int, int], outputs: int, name: str):
        super().__init__()
        transformers, folder = library(), folder_of(name)
        with errors_only("torch.utils._pytree"):  # transformers imports torchao, which registers enums the old way
            config = settings_of(folder)
            config.num_labels = outputs
            for field, value in (("image_size", input_shape[-1]), ("num_channels", input_shape[0])):
                if isinstance(getattr(config, field, None), int):
                    setattr(config, field, value)
            try:
                self.net = transformers.AutoModelForImageClassification.from_config(config)
            except ValueError as error:
                raise ValueError(f"name={name} describes no network for pictures ({first_line(error)})") from error

    @classmethod
    def record(cls, settings: dict[str, Any]) -> NetworkRecord:
        """What config.json and preprocessor_config.json say."""
        folder = folder_of(settings["name"])
        labels = settings_of(folder).id2label or {}
        classes = tuple(str(labels[number]) for number in sorted(labels))
        about = read_json(folder / PREPROCESSOR) if (folder / PREPROCESSOR).is_file() else {}
        scale = 1 / about.get("rescale_factor", 1 / 255)
        mean, std = ([scale * value for value in about.get(name, [])] for name in ("image_mean", "image_std"))
        resized, cut = (side_of(about.get(name)) for name in ("size", "crop_size"))
        crop = cut / resized if about.get("do_center_crop") and cut and resized else about.get("crop_pct") or 1.0
        side = (cut if about.get("do_center_crop") else None) or resized
        known = bool(mean and std)
        return NetworkRecord(
            side, tuple(mean) if known else None, tuple(std) if known else None, classes, min(crop, 1.0), str(folder)
        )

    @classmethod
    def weights_file(cls, settings: dict[str, Any]) -> Path | None:
        """The folder itself."""
        return folder_of(settings["name"]) if settings["weights"] == "pretrained" else None

    @classmethod
    def read_folder(cls, folder: Path) -> dict[str, Tensor]:
        """The weights in safetensors; transformers calls them otherwise in the file than in the network."""
        transformers = library()
        try:
            with errors_only("transformers"), errors_only("torch.utils._pytree"), no_bars(transformers):
                net = transformers.AutoModelForImageClassification.from_pretrained(
                    str(folder), local_files_only=True, use_safetensors=True
                )
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise UserError(
                f"{folder} holds no weights in safetensors that can be read ({first_line(error)})"
            ) from error
        return {f"net.{name}": tensor for name, tensor in net.state_dict().items()}

    def forward(self, x: Tensor) -> Tensor:
        """The logits [B, outputs] of pictures [B, C, H, W]."""
        return self.net(x).logits


def library() -> Any:
    """transformers. Raises UserError where it is not installed."""
    return need("transformers", "text", "model=huggingface")


def folder_of(name: str) -> Path:
    """The folder of this name, from the hub's cache where there is none, or else fetched. Raises UserError."""
    if (folder := user_path(name)).is_dir():
        return folder
    hub = need("huggingface_hub", "text", "model=huggingface")
    for offline in (True, False):
        try:
            with errors_only(CLIENT):
                return Path(hub.snapshot_download(name, local_files_only=offline, allow_patterns=list(WEIGHTS)))
        except Exception as error:  # the hub's client raises errors of many classes
            if not offline:
                raise UserError(
                    f"model.name={name} is no folder, and cannot be fetched from Hugging Face's hub "
                    f"({first_line(error)})\ngive a folder with config.json and model.safetensors"
                ) from error
    raise AssertionError


def settings_of(folder: Path) -> Any:
    """The content of config.json. Raises ValueError for what transformers does not know."""
    try:
        return library().AutoConfig.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{folder} holds no config.json that transformers knows ({first_line(error)})") from error


def side_of(size: object) -> int | None:
    """Pixels of a side, of the ways in which a preprocessor says it."""
    if isinstance(size, dict):
        size = size.get("shortest_edge") or size.get("height")
    return size if isinstance(size, int) else None
