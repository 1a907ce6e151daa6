"""Made-up run folders, as many as wanted, to try the report on: python -m tests.made_up_runs FOLDER [COUNT].

Their numbers are drawn at random around a value for each setting, their files have the form that real runs leave.
"""

import struct
import sys
import wave
import zlib
from pathlib import Path

import numpy as np
import yaml

from mlbench.core.atomic_io import write_json, write_text, write_whole
from mlbench.core.csv_files import write_csv

Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
TASKS = 10
SEEDS = 5
SIDE = 420  # pixels of a picture
CONTROLS = ("random", "edges", "input", "wrong_class")
STREAMS = {
    "kind": "",
    "headlines": {"average_accuracy": "high", "backward_transfer": "high", "forgetting": "low"},
}
SCORES = ("deletion_auc", "insertion_auc", "sparsity", "randomisation_abs_rho")


def make(folder: Path, count: int) -> None:
    """Runs of all families by turns, `SEEDS` seeds of each setting."""
    makers = (lifelong, compress, maps, probes)
    for number in range(count):
        setting, seed = divmod(number, SEEDS)
        family, strength = setting % len(makers), setting // len(makers)
        draws = np.random.default_rng([setting, seed])
        makers[family](folder, strength, seed, draws, 0.9 - 0.3 / (1 + strength % 12))


def write(
    place: Path, identity: tuple[str, str, str, str], seed: int, settings: dict, metrics: dict, told: dict = STREAMS
) -> None:
    """The files that every run has; `told` are kind and headlines."""
    family, technique, data, model = identity
    nodes = {"data": {"_target_": f"mlbench.data.{data}", "tasks": TASKS}, "model": {"_target_": f"mlbench.{model}"}}
    nodes |= {"train": {"epochs": 1, "lr": 0.1}, family: {"_target_": f"mlbench.{family}.{technique}", **settings}}
    write_text(place / "config.yaml", yaml.dump({"seed": seed, "out": str(place), **nodes}, Dumper=Dumper))
    write_json(place / "env.json", {"command": ["mlbench"], "ended": f"2026-01-01T00:{seed:02d}:00+00:00"})
    who = {"family": family, "technique": technique, "data": data, "model": model, "seed": seed}
    costs = {"train_seconds": 1.5, "wall_seconds": 2.5}
    numbers = {"metrics": metrics, "costs": costs}
    write_json(place / "summary.json", {"schema": 1, "status": "done", **who, **told, **numbers})


def place_of(folder: Path, identity: tuple[str, str, str, str], setting: int, seed: int) -> Path:
    """A run's folder."""
    family, technique, data, model = identity
    return folder / family / f"{technique}-{data}-{model}" / f"{setting:04d}{seed:02d}"


def lifelong(folder: Path, setting: int, seed: int, draws: np.random.Generator, level: float) -> None:
    """A run with its matrix R."""
    technique = ("finetune", "ewc", "gem", "er")[setting % 4]
    identity = ("lifelong", technique, f"permuted_{('digits', 'mnist')[setting // 4 % 2]}", "mlp")
    place = place_of(folder, identity, setting, seed)
    rows = []
    for learned in range(TASKS + 1):
        age = learned - np.arange(1, TASKS + 1)
        row = np.where(age < 0, 0.1, level - (1 - level) * 0.2 * age) + draws.normal(0, 0.01, TASKS)
        rows.append([learned, *row.clip(0, 1).tolist()])
    write_csv(place / "accuracy_matrix.csv", ["tasks_learned", *(f"task {i + 1}" for i in range(TASKS))], rows)
    last = np.array(rows[-1][1:])
    metrics = {
        "average_accuracy": last.mean(),
        "backward_transfer": last.mean() - level,
        "forgetting": level - last.min(),
    }
    write(place, identity, seed, {"strength": setting}, metrics)


def compress(folder: Path, setting: int, seed: int, draws: np.random.Generator, level: float) -> None:
    """A run with its points."""
    identity = ("compress", ("prune", "cluster")[setting % 2], "digits", "mlp")
    place = place_of(folder, identity, setting, seed)
    rows = []
    for step in range(4):
        accuracy, size = level - 0.02 * step + draws.normal(0, 0.004), 70_000 / 3**step
        stage = "dense" if step == 0 else f"{identity[1]} {step}"
        costs = [int(size), 70_000 / size, 17_400 / (1 + step), 0.02 / (1 + step) + draws.normal(0, 1e-4), 0.001]
        rows.append([step, stage, accuracy, 1 - accuracy, 17_610, int(size / 4), *costs])
    head = ["step", "stage", "accuracy", "error", "parameters", "nonzero", "bytes", "ratio", "macs", "latency_ms"]
    write_csv(place / "points.csv", [*head, "latency_iqr_ms"], rows)
    metrics = {"accuracy": accuracy, "error_increase": level - accuracy, "ratio": 70_000 / size, "speedup": 1.0}
    headlines = {"accuracy": "high", "error_increase": "low", "ratio": "high", "speedup": "high"}
    write(place, identity, seed, {"target": setting}, metrics, {"kind": "", "headlines": headlines})


def maps(folder: Path, setting: int, seed: int, draws: np.random.Generator, level: float) -> None:
    """A run with the scores of a map and of controls, with curves and pictures."""
    identity = ("explain", ("saliency", "smoothgrad", "occlusion")[setting % 3], "digits", "cnn")
    place = place_of(folder, identity, setting, seed)
    named = {"": level, **{f"control_{name}_": 0.5 for name in CONTROLS}}
    metrics = {f"{mark}{name}": around + draws.normal(0, 0.02) for mark, around in named.items() for name in SCORES}
    shares = np.linspace(0, 1, 21)
    rows = [[name, share, 1 - share**0.5, share] for name in (identity[1], *CONTROLS) for share in shares.tolist()]
    write_csv(place / "curves.csv", ["map", "share of pixels", "deletion", "insertion"], rows)
    for name in ("maps", "classes"):
        write_picture(
            place / "figures" / f"{name}.png", draws.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) // 32 * 32
        )
    headlines = {"deletion_auc": "low", "insertion_auc": "high", "sparsity": "", "randomisation_abs_rho": ""}
    write(place, identity, seed, {"samples": setting}, metrics, {"kind": "maps", "headlines": headlines})


def probes(folder: Path, setting: int, seed: int, draws: np.random.Generator, level: float) -> None:
    """A run with numbers for every layer, and sounds."""
    identity = ("explain", "invert", "tones", "speech")
    place = place_of(folder, identity, setting, seed)
    metrics = {}
    for layer in range(5):
        metrics[f"layer_{layer}_r2"] = level - 0.05 * layer + draws.normal(0, 0.01)
        metrics[f"layer_{layer}_untrained_r2"] = level - 0.01 * layer
        write_sound(place / "artefacts" / f"seven_layer_{layer}.wav", draws.integers(-2000, 2000, 4000, dtype=np.int16))
    told = {"kind": "layers given back", "headlines": {"top_r2": "high"}}
    write(place, identity, seed, {"width": 5 * setting}, {**metrics, "top_r2": metrics["layer_4_r2"]}, told)


def write_picture(path: Path, pixels: np.ndarray) -> None:
    """A PNG of uint8 [H, W, 3]."""
    height, width, _ = pixels.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], 1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    text = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 1)), (b"IEND", b"")):
        text += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    write_whole(path, lambda stream: stream.write(text))


def write_sound(path: Path, samples: np.ndarray) -> None:
    """A wav file of int16 at 8 kHz."""

    def fill(stream):
        with wave.open(stream, "wb") as file:
            file.setparams((1, 2, 8000, len(samples), "NONE", ""))
            file.writeframes(samples.tobytes())

    write_whole(path, fill)


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
