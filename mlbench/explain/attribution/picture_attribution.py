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
from mlbench.explain.attribution.photograph_sheets import ends, file_names, sheets
from mlbench.explain.base import Attribution, Context, is_large
from mlbench.runs.figure_names import figure_names
from mlbench.runs.results import Panel, Results, Row

SHOWN = 8  # examples in a figure of maps
OF_CLASSES = 4  # in a figure of maps for every class
MOST_PROBABLE = 5  # classes of each picture in predictions.csv
CLASSES_UP_TO = 10  # columns that figure has room for


class PictureView(View):
    """Test pictures drawn by the seed, or the user's own: of these the figures show all, in pages, with their names."""

    takes_files = True
    in_grids = True

    def __init__(self, net: nn.Module, method: Attribution, context: Context):
        self.net = net
        found = files(user_path(method.images)) if method.images else []
        paths = found[: method.samples]
        if not method.images and (listed := context.task.files) is not None:
            paths = [listed[place] for place in context.chosen(method).tolist()]
            found = listed
        self.paths, self.crop = paths, 1.0 if method.images else context.task.crop
        self.names, self.found = file_names(paths), len(found)
        x, self.pictures, labels, truth = user_inputs(paths, context) if method.images else test_inputs(method, context)
        with torch.no_grad():
            self.logits = net(x)  # [n, outputs]
        predicted = self.logits.argmax(1)
        target = predicted if method.target is None else torch.full_like(predicted, method.target)
        self.examples = [Examples(net, x, target, predicted, labels, truth, context.classes)]

    def show(self, results: Results, method: Attribution, name: str, maps: dict[str, list[Tensor]]) -> None:
        """Maps beside pictures and controls, the same for every class, and all of it as arrays."""
        (examples,), first = self.examples, {title: each for title, (each,) in maps.items()}
        arrays = {"pictures": self.pictures, "maps": first[name].cpu().numpy()}
        for part in ("target", "predicted", "labels", "truth"):
            if (tensor := getattr(examples, part)) is not None:
                arrays[part] = tensor.cpu().numpy()
        arrays["target_names"] = np.array([examples.classes[target] for target in examples.target.tolist()])
        if self.names:
            arrays["files"] = np.array(self.names)
            results.tables["predictions"] = self.predictions(examples)
        results.arrays["maps"] = arrays
        count = len(self.names)
        shown = range(count or min(SHOWN, len(examples)))
        rows = [self.row(examples, first, name, number) for number in shown]
        results.grids |= pages("maps", rows, SHOWN)
        if len(examples.classes) <= CLASSES_UP_TO:
            rows = self.by_class(examples, method, count or min(OF_CLASSES, len(examples)))
            results.grids |= pages("classes", rows, OF_CLASSES)
        if self.names and is_large(examples.x.shape):
            figures = figure_names(self.paths, {*results.grids, *results.charts})
            drawn = [channel_sum(each) for each in first[name]]
            arrays["ends"] = np.array(ends(method))
            about = (name, drawn, ends(method), results.tables["predictions"])
            results.sheets = dict(zip(figures, sheets(self.paths, self.crop, examples, *about), strict=True))

    def predictions(self, examples: Examples) -> list[dict[str, object]]:
        """The most probable classes of each file."""
        best = self.logits.softmax(1).topk(min(MOST_PROBABLE, len(examples.classes)))
        return [
            {"file": self.names[number], "rank": rank, "class": examples.classes[place], "probability": share}
            for number, (shares, places) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True))
            for rank, (share, place) in enumerate(zip(shares, places, strict=True), start=1)
        ]

    def file_title(self, number: int) -> str:
        """Which file this is, and of how many that were found; empty for test pictures."""
        return f"{self.names[number]} ({number + 1} of {self.found}), " if self.names else ""

    def row(self, examples: Examples, maps: dict[str, Tensor], name: str, number: int) -> Row:
        """A picture, the method's map, the map over the picture, and the controls' maps."""
        picture = self.pictures[number]
        cells = [Panel("input", picture), Panel(name, map=channel_sum(maps[name][number]))]
        cells.append(Panel("overlay", picture, channel_sum(maps[name][number])))
        for title in (title for title in maps if title != name):
            cells.append(Panel(f"control: {title.replace('_', ' ')}", map=channel_sum(maps[title][number])))
        return self.file_title(number) + examples.title(number), cells

    def by_class(self, examples: Examples, method: Attribution, count: int) -> list[Row]:
        """The first `count` of the same pictures, explained for every class."""
        x, rows = examples.x[:count], []
        target = examples.target[: len(x)]
        maps = [
            in_parts(method.maps, examples.net, x, torch.full_like(target, number))
            for number in range(len(examples.classes))
        ]
        for number in range(len(x)):
            answer = examples.classes[examples.predicted[number]]
            cells = [Panel(c, map=channel_sum(each[number])) for c, each in zip(examples.classes, maps, strict=True)]
            rows.append(
                (f"{self.file_title(number)}answered: {answer}", [Panel("input", self.pictures[number]), *cells])
            )
        return rows


class SpectrogramView(PictureView):
    """Test spectrograms drawn by the seed."""

    takes_files = False
    in_grids = False


Inputs = tuple[Tensor, np.ndarray, Tensor | None, Tensor | None]  # x, pictures uint8, labels, truth


def test_inputs(method: Attribution, context: Context) -> Inputs:
    """Test pictures drawn by the seed."""
    index = context.chosen(method)
    batch, truth = context.test.batch(index), None
    if context.planted is not None:
        corners = context.planted.test[context.test.rows[index]]
        truth = context.planted.masks(corners, context.input_shape[1:])
    return batch.x, context.picture(batch.x), batch.y if context.task.labelled else None, truth


def user_inputs(paths: list[Path], context: Context) -> Inputs:
    """The user's own pictures."""
    raw = torch.stack([picture(path, context.input_shape) for path in paths]).to(context.compute.device)
    return context.test.normalise(raw), raw.cpu().numpy(), None, None


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


def pages(name: str, rows: list[Row], most: int) -> dict[str, list[Row]]:
    """Figures of up to `most` rows each: `name`, `name_2` and so on."""
    parts = [rows[start : start + most] for start in range(0, len(rows), most)]
    return {name if number == 1 else f"{name}_{number}": part for number, part in enumerate(parts, start=1)}


def channel_sum(maps: Tensor) -> np.ndarray:
    """Maps [C, H, W] as they are drawn: channels added up, signs kept."""
    return maps.sum(0).cpu().numpy()
