"""Maps of pictures and spectrograms: as they are drawn."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mlbench.core.errors import UserError
from mlbench.core.user_path import user_path
from mlbench.data.datasets.picture_files import images
from mlbench.data.picture_decoder import SUFFIXES, decode_pictures
from mlbench.explain.attribution.evaluation import in_parts
from mlbench.explain.attribution.examples import Examples, View
from mlbench.explain.base import Attribution, Context
from mlbench.runs.results import Panel, Results, Row

SHOWN = 8  # examples in the figure of maps
OF_CLASSES = 4  # in the figure of maps for every class
FILES_UP_TO = 40  # of the user's own pictures, which all stand in both figures
CLASSES_UP_TO = 10  # columns that figure has room for


class PictureView(View):
    """Test pictures drawn by the seed, or the user's own."""

    takes_files = True

    def __init__(self, net: nn.Module, method: Attribution, context: Context):
        self.net = net
        x, self.pictures, labels, truth = (
            user_inputs(method, context) if method.images else test_inputs(method, context)
        )
        self.names = [path.name for path in chosen_files(method)] if method.images else []
        with torch.no_grad():
            predicted = net(x).argmax(1)
        target = predicted if method.target is None else torch.full_like(predicted, method.target)
        self.examples = [Examples(net, x, target, predicted, labels, truth, context.classes)]

    def show(self, results: Results, method: Attribution, name: str, maps: dict[str, list[Tensor]]) -> None:
        """Maps beside pictures and controls, the same for every class, and all of it as arrays."""
        (examples,), first = self.examples, {title: each for title, (each,) in maps.items()}
        arrays = {"pictures": self.pictures, "maps": first[name].cpu().numpy()}
        for part in ("target", "predicted", "labels", "truth"):
            if (tensor := getattr(examples, part)) is not None:
                arrays[part] = tensor.cpu().numpy()
        if self.names:
            arrays["files"] = np.array(self.names)
        results.arrays["maps"] = arrays
        shown = range(min(FILES_UP_TO if self.names else SHOWN, len(examples)))
        results.grids["maps"] = [self.row(examples, first, name, number) for number in shown]
        if len(examples.classes) <= CLASSES_UP_TO:
            results.grids["classes"] = self.by_class(examples, method)

    def row(self, examples: Examples, maps: dict[str, Tensor], name: str, number: int) -> Row:
        """A picture, the method's map, the map over the picture, and the controls' maps."""
        picture = self.pictures[number]
        cells = [Panel("input", picture), Panel(name, map=channel_sum(maps[name][number]))]
        cells.append(Panel("overlay", picture, channel_sum(maps[name][number])))
        for title in (title for title in maps if title != name):
            cells.append(Panel(f"control: {title.replace('_', ' ')}", map=channel_sum(maps[title][number])))
        return self.titled(number, examples.title(number)), cells

    def titled(self, number: int, title: str) -> str:
        """A title, with the name of the file before it where there is one."""
        return f"{self.names[number]}: {title}" if self.names else title

    def by_class(self, examples: Examples, method: Attribution) -> list[Row]:
        """The same pictures, explained for every class."""
        x, rows = examples.x[: FILES_UP_TO if self.names else OF_CLASSES], []
        target = examples.target[: len(x)]
        maps = [
            in_parts(method.maps, examples.net, x, torch.full_like(target, number))
            for number in range(len(examples.classes))
        ]
        for number in range(len(x)):
            answer = examples.classes[examples.predicted[number]]
            cells = [Panel(c, map=channel_sum(each[number])) for c, each in zip(examples.classes, maps, strict=True)]
            title = self.titled(number, f"answered: {answer}")
            rows.append((title, [Panel("input", self.pictures[number]), *cells]))
        return rows


class SpectrogramView(PictureView):
    """Test spectrograms drawn by the seed."""

    takes_files = False


Inputs = tuple[Tensor, np.ndarray, Tensor | None, Tensor | None]  # x, pictures uint8, labels, truth


def test_inputs(method: Attribution, context: Context) -> Inputs:
    """Test pictures drawn by the seed."""
    index = context.chosen(method)
    batch, truth = context.test.batch(index), None
    if context.planted is not None:
        corners = context.planted.test[context.test.rows[index]]
        truth = context.planted.masks(corners, context.input_shape[1:])
    return batch.x, context.picture(batch.x), batch.y, truth


def user_inputs(method: Attribution, context: Context) -> Inputs:
    """The user's own pictures."""
    raw = torch.stack([picture(path, context.input_shape) for path in chosen_files(method)]).to(context.compute.device)
    return context.test.normalise(raw), raw.cpu().numpy(), None, None


def chosen_files(method: Attribution) -> list[Path]:
    """Those of `method.images` that are explained."""
    return files(user_path(method.images))[: method.samples]


def files(path: Path) -> list[Path]:
    """The picture, or those in a folder, in order of their names. Raises UserError where there is none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"explain.images={path} does not exist; give a picture or a folder of pictures")
    if not (paths := images(path)):
        raise UserError(f"explain.images={path} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    return paths


def picture(path: Path, shape: tuple[int, int, int]) -> Tensor:
    """A file as uint8 [C, H, W] in the network's shape. Raises UserError for what is no picture."""
    channels, height, width = shape
    if height != width:
        raise UserError(f"explain.images is for square pictures, and these are {height}x{width}")
    (found,) = decode_pictures([path], height, channels == 1)
    return torch.from_numpy(found)


def channel_sum(maps: Tensor) -> np.ndarray:
    """Maps [C, H, W] as they are drawn: channels added up, signs kept."""
    return maps.sum(0).cpu().numpy()
