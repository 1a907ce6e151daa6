"""The runner of explanations: it trains or loads the network, runs the method and writes the results."""

import time
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.io import wavfile
from torch import Tensor, nn

from mlbench.core.atomic_io import write_text, write_whole
from mlbench.core.csv_files import write_csv
from mlbench.core.errors import SettingError, UserError, need, require
from mlbench.core.user_path import user_path
from mlbench.data.stream import Stream
from mlbench.experiment.checked_config import CheckedConfig
from mlbench.experiment.multi_fit_runner import MultiFitRunner, check_single_task
from mlbench.experiment.runner import RunnerFactory
from mlbench.explain.attribution.evaluation import evaluate
from mlbench.explain.attribution.picture_attribution import files, picture
from mlbench.explain.attribution.views import VIEWS
from mlbench.explain.base import Attribution, Method, untouched
from mlbench.explain.rehearsal import rehearse
from mlbench.reporting.figures import grids, plots, tokens
from mlbench.reporting.figures.bars import draw_bars
from mlbench.reporting.figures.clouds import draw_clouds
from mlbench.reporting.figures.sheets import draw_sheet
from mlbench.runs import layout
from mlbench.runs.results import Results
from mlbench.training.masked_lm import masked_accuracy


@dataclass
class Explain(MultiFitRunner):
    """One run of one explanation of one network; to the method it is the `Context`."""

    def __post_init__(self):
        super().__post_init__()
        self.method: Method = self.config.technique
        self.fits.seconds |= {"explain": 0.0}
        self.task = task = self.stream.tasks[0]
        self.test, self.planted, self.classes = task.test, task.planted, self.stream.classes
        self.black = task.modality.black(self.normalise)

    def __call__(self) -> None:
        """Train or load the network, explain it and write the results."""
        self.resume()
        inside = self.task.unlabelled is not None and not self.method.needs_classes
        net = self.pretrained() if inside else self.dense()
        results = Results(metrics=self.measured(net, inside))
        good = dict(results.metrics)
        for name, value in good.items():
            self.run.display.note(f"{name.replace('_', ' ')} {value:.4f}")
        self.fits.phase, began = "explain", time.perf_counter()
        trained = self.fits.seconds["explain"]
        with untouched(net):
            results.join(self.method.explain(net, self))
        self.fits.seconds["explain"] = trained + time.perf_counter() - began
        self.write(results)
        for name, value in good.items():  # after all fits: a checkpoint of theirs would keep the lines, and a resumed
            self.run.log(0, "eval", 1, "test", name, value)  # run write them again
        costs = {**self.fits.costs(), "parameters": sum(p.numel() for p in net.parameters())}
        headlines = results.headlines or dict.fromkeys(good, "high")
        self.run.finish(self.describe(net), results.metrics, costs, headlines, results.kind)

    def measured(self, net: nn.Module, inside: bool) -> dict[str, float]:
        """Test accuracy of the network on the task that it was trained for."""
        if inside:
            if getattr(net, "lacks_head", False):
                self.run.display.note("no masked accuracy: the weights come without a head that tells masked pieces")
                return {}
            can_tell = hasattr(net, "covered")
            return {"masked_accuracy": masked_accuracy(net, self.test, self.task.modality)} if can_tell else {}
        if not self.task.labelled:
            return {}
        metrics = {"accuracy": self.accuracy(net, self.test)}
        if self.planted is not None:
            metrics["clean_accuracy"] = self.accuracy(net, self.planted.clean)
        return metrics

    def evaluate(self, method: Attribution, net: nn.Module) -> Results:
        """See `Context`."""
        modality, name = self.task.modality, self.config.names["explain"]
        view = VIEWS[type(modality)](net, method, self)
        scores = method.scores or ("full" if self.task.labelled else "quick")
        return evaluate(method, view, modality, name, self.generator, self.compute, scores)

    def chosen(self, method: Attribution) -> Tensor:
        """The test examples to explain, drawn by the seed; all photographs, in their order."""
        if not self.task.labelled:
            return torch.arange(len(self.test), device=self.test.labels.device)
        order = torch.randperm(len(self.test), generator=self.draws.generator("examples"))[: method.samples]
        return order.to(self.test.labels.device)

    def write(self, results: Results) -> None:
        """Tables, then figures from them, arrays, texts; and what a user should know."""
        folder = self.run.folder
        for note in results.notes:
            self.run.display.note(note)
        for name, rows in results.tables.items():
            columns = list(dict.fromkeys(column for row in rows for column in row))
            write_csv(folder / f"{name}.csv", columns, [[row.get(column, "") for column in columns] for row in rows])
        for name, chart in results.charts.items():
            table, figure = folder / f"{chart.table}.csv", folder / layout.FIGURES / f"{name}.png"
            plots.draw_chart(table, (chart.x, chart.y), chart.by, figure, chart.log, not chart.points)
        for name, rows in results.grids.items():
            grids.draw_grid(rows, folder / layout.FIGURES / f"{name}.png", upwards=self.task.modality.upwards)
        for name, sheet in results.sheets.items():
            draw_sheet(sheet, folder / layout.FIGURES / f"{name}.png")
        for name, charts in results.bars.items():
            draw_bars(charts, folder / layout.FIGURES / f"{name}.png")
        for name, clouds in results.clouds.items():
            draw_clouds(clouds, folder / layout.FIGURES / f"{name}.png")
        for name, passages in results.passages.items():
            tokens.draw_passages(passages, folder / layout.FIGURES / f"{name}.png")
            self.run.display.passages(passages)
        for name, arrays in results.arrays.items():
            write_whole(folder / layout.ARTEFACTS / f"{name}.npz", partial(np.savez_compressed, **arrays))
        for name, (rate, wave) in results.sounds.items():
            samples = np.round(32767 * wave / max(1.0, abs(wave).max())).astype(np.int16)
            write_whole(folder / layout.ARTEFACTS / f"{name}.wav", partial(wavfile.write, rate=rate, data=samples))
        for name, text in results.texts.items():
            write_text(folder / name, text)


def prepare(config: CheckedConfig, stream: Stream, net: nn.Module) -> RunnerFactory:
    """What makes the runner. Raises UserError for a stream of tasks, settings that do not fit, and missing packages."""
    check_single_task(config, stream)
    method = config.technique
    try:
        method.check_data(stream.tasks[0], stream.classes)
        if isinstance(method, Attribution):
            need("skimage.metrics", "explain", "the scores of maps")
            check_images(method, stream)
        method.check(net)
    except SettingError as error:
        raise UserError(f"explain.{error}") from error
    rehearse(config, stream, net)
    return partial(Explain, config=config)


def check_images(method: Attribution, stream: Stream) -> None:
    """Raise SettingError where the data's view takes no files, and UserError for a file that is not a picture."""
    if method.images is None:
        return
    modality = stream.modality
    require(VIEWS[type(modality)].takes_files, "images", method.images, f"null: this data is {modality.name}")
    for path in files(user_path(method.images)):
        picture(path, stream.input_shape)
