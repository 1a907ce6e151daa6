"""The wheel: conf/ inside, running from any folder, nothing of the checkout needed."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    code = "import hatchling.build, sys; hatchling.build.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(folder)], cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def test_the_wheel_runs_from_any_folder(wheel, tmp_path):
    assert (wheel / "mlbench" / "conf" / "config.yaml").is_file()
    assert (wheel / "mlbench" / "reporting" / "html" / "templates" / "page.css").is_file()
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    command = [sys.executable, "-P", "-m", "mlbench"]
    where = subprocess.run(
        [sys.executable, "-P", "-c", "import mlbench; print(mlbench.__file__)"],
        env=environment,
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert str(wheel) in where.stdout
    listed = subprocess.run(
        [*command, "list"], env=environment, cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "gem_permuted_mnist" in listed.stdout
    subprocess.run([*command, "train.epochs=1"], env=environment, cwd=tmp_path, check=True, capture_output=True)
    assert list(tmp_path.glob("outputs/plain/digits-mlp/*/summary.json"))
    many = ["train.epochs=1", "seeds=1", "hydra/launcher=joblib", "out=many"]  # launchers are a package of their own
    subprocess.run([*command, *many], env=environment, cwd=tmp_path, check=True, capture_output=True)
    assert list(tmp_path.glob("many/plain/digits-mlp/*/summary.json"))


def test_help_of_the_makefile_names_every_target():
    text = (ROOT / "Makefile").read_text()
    shown = subprocess.run(["make", "-s", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    phony = next(line for line in text.splitlines() if line.startswith(".PHONY:")).split()[1:]
    assert all(f"make {target}" in shown for target in phony)
