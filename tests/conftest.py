"""Fixtures: small streams of random pictures, and the command line and what it starts called in this process."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from mlbench.cli import main
from mlbench.compress import runner
from mlbench.compress.measurement import worker
from mlbench.compress.measurement.client import FreshProcess
from mlbench.data.normalisation import Normalise
from mlbench.data.output_heads import SharedHead
from mlbench.data.split import Pool, Split
from mlbench.data.stream import Stream, Task


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch, tmp_path):
    """One thread, an empty data directory unless a test asks for the real one, and the environment put back."""
    torch.set_num_threads(1)
    monkeypatch.setenv("MLBENCH_TEST_DATA", os.environ.get("MLBENCH_DATA", ""))
    monkeypatch.setenv("MLBENCH_DATA", str(tmp_path / "no-data"))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def real(request):
    """A function that names the data directory, or skips when it has not the file a test needs."""

    def folder(name: str) -> Path:
        place = Path(os.environ.get("MLBENCH_TEST_DATA") or "~/.cache/mlbench").expanduser()
        if not (place / name).exists():
            pytest.skip(f"{name} is not in {place}; set MLBENCH_DATA")
        return place

    return folder


@pytest.fixture
def mlbench(monkeypatch, tmp_path, capfd, undrawn):
    """`mlbench(*words)` runs the command line here: (exit code, stdout, stderr); results go to tmp_path/out."""

    def call(*words: str, out: bool = True) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mlbench", *words, *([f"out={tmp_path / 'out'}"] if out else [])])
        capfd.readouterr()
        code = main.main()
        stdout, stderr = capfd.readouterr()
        return code, stdout, stderr

    return call


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Headless Chromium on a page that takes up 1200 x 900, driven by selenium; skips where it is not installed."""
    webdriver = pytest.importorskip("selenium.webdriver")
    if not (driver := shutil.which("chromedriver")) or not (binary := shutil.which("chromium")):
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    words = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,900")
    for word in words:
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with pytest.MonkeyPatch.context() as environment:
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            environment.delenv(name, raising=False)
        opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
        try:
            yield opened
        finally:
            opened.quit()


class SameProcess(FreshProcess):
    """Measures in this process: a second where a fresh one takes five, for runs whose figures nobody reads."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="mlbench-")
        path = Path(self.folder.name) / "test.pt"
        torch.save({"pictures": self.test.raw(torch.arange(len(self.test))), "labels": self.test.labels}, path)
        self.reader = worker.Reader(str(path), "cpu", torch.get_num_threads(), self.latency_batch, self.config_dirs)
        return self

    def __exit__(self, *_):
        self.folder.cleanup()

    def ask(self, do, **given):
        with torch.random.fork_rng([]):  # networks that are read draw weights before they get their own
            return getattr(self.reader, do)(**given)


@pytest.fixture
def figures():
    """For tests that look at the figures of `mlbench(*words)`."""


@pytest.fixture
def undrawn(request, monkeypatch):
    """Figures are laid out, but their files stay empty: to draw them takes half of a small run."""
    if "figures" not in request.fixturenames:
        monkeypatch.setattr(FigureCanvasAgg, "print_png", lambda *_, **__: None)


@pytest.fixture
def same_process(monkeypatch, undrawn):
    """Runs measure in this process, latencies with the fewest batches, and draw nothing."""
    monkeypatch.setattr(runner, "FreshProcess", SameProcess)
    monkeypatch.setattr(worker, "ROUND_SECONDS", 0.0)


def random_split(
    count: int, task: int = 0, shape: tuple[int, ...] = (1, 4, 4), classes: int = 3, seed: int = 0
) -> Split:
    """Random pictures with labels that a network can learn: the brightest of `classes` stripes."""
    draws = np.random.default_rng(seed)
    pictures = torch.from_numpy(draws.integers(0, 256, (count, *shape), dtype=np.uint8))
    stripes = torch.stack([part.float().flatten(1).mean(1) for part in pictures.flatten(1).chunk(classes, 1)], 1)
    labels = stripes.argmax(1)
    return Split(Pool(pictures), torch.arange(count), labels, task, Normalise.fitted(pictures))


@pytest.fixture
def split():
    """The function that makes random splits."""
    return random_split


@pytest.fixture
def stream():
    """Three tasks of random pictures in the domain scenario."""
    tasks = [Task(f"task {i}", random_split(60, i, seed=2 * i), random_split(40, i, seed=2 * i + 1)) for i in range(3)]
    return Stream(tasks, "domain", 3, ["a", "b", "c"], SharedHead())
