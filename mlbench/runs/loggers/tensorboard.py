"""TensorBoard: event files in the run's folder."""

from dataclasses import dataclass
from pathlib import Path

from mlbench.runs.loggers.base import Logger, Measurement


@dataclass
class TensorBoard(Logger):
    """Event files in `<run>/tensorboard`; a run that goes on adds another one there."""

    package = "tensorboard"

    def begin(self, folder: Path, name: str, parameters: dict[str, object], run: str | None) -> str:
        """See `Logger`."""
        from torch.utils.tensorboard import SummaryWriter

        place = folder / "tensorboard"
        plain = lambda value: value if isinstance(value, int | float) else str(value)  # noqa: E731
        self.parameters = {key: plain(value) for key, value in parameters.items()}
        self.writer = SummaryWriter(str(place))
        if run is None:
            self.writer.add_text("run", name)
        return place.name

    def log(self, measurements: list[Measurement]) -> None:
        """See `Logger`."""
        for each in measurements:
            self.writer.add_scalar(each.name, each.value, each.step)
        self.writer.flush()

    def finish(self, results: dict[str, float], files: list[Path]) -> None:
        """Results stand beside the settings under HPARAMS, tables under TEXT, figures under IMAGES."""
        from matplotlib.image import imread

        self.writer.add_hparams(self.parameters, results, run_name=".")
        for path in files:
            if path.suffix == ".png":
                self.writer.add_image(path.stem, imread(path), dataformats="HWC")
            else:
                self.writer.add_text(path.name, f"    {path.read_text(encoding='utf-8')}".replace("\n", "\n    "))

    def close(self, done: bool) -> None:  # noqa: ARG002
        """See `Logger`."""
        self.writer.close()
