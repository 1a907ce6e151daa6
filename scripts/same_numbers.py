"""Whether two states of the code give the same numbers, bit for bit: eleven commands over all families.

    python scripts/same_numbers.py record before.json     # at one commit
    python scripts/same_numbers.py record after.json      # at another
    python scripts/same_numbers.py compare before.json after.json

Nothing is downloaded; all eleven take about five minutes on two cores. Compared are all measurements (metrics.jsonl),
all metrics, all costs and table columns but times, and the weights of every checkpoint.
"""

import argparse
import csv
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from mlbench.core.child_processes import python_command

COMMANDS = {
    "supervised": "model=cnn train.epochs=2 train.validation=.1 train.patience=1",
    "ewc": "lifelong=ewc data.tasks=3 train.epochs=1 reference=joint",
    "gem": "lifelong=gem data=split_digits train.epochs=1",
    "derpp": "lifelong=derpp data.tasks=3 train.epochs=1",
    "generative_replay": "lifelong=generative_replay data.tasks=3 train.epochs=1 lifelong.generator_steps=50",
    "feedback": "lifelong=er data=feedback_digits train.epochs=1",
    "deep_compression": "compress=deep_compression train.epochs=2",
    "early_exit": "compress=early_exit train.epochs=2",
    "smoothgrad": "explain=smoothgrad data=planted train.epochs=1",
    "probe": "explain=probe data=grammar train.epochs=1 model.pretrain_epochs=2",
    "invert": "explain=invert data=tones train.epochs=2 explain.epochs=1",
}
TIMES = ("seconds", "latency", "samples_per_second", "speedup", "peak")  # in names of what a clock or a meter reads


def main() -> int:
    """Record or compare; the exit code is 1 where numbers differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("record").add_argument("file", type=Path)
    comparison = verbs.add_parser("compare")
    comparison.add_argument("before", type=Path)
    comparison.add_argument("after", type=Path)
    arguments = parser.parse_args()
    if arguments.verb == "record":
        numbers = {name: record(name, words) for name, words in COMMANDS.items()}
        arguments.file.write_text(json.dumps(numbers, indent=1, sort_keys=True), encoding="utf-8")
        return 0
    before, after = (json.loads(path.read_text(encoding="utf-8")) for path in (arguments.before, arguments.after))
    different = False
    for name in COMMANDS:
        keys = sorted(set(before[name]) | set(after[name]))
        changes = [key for key in keys if before[name].get(key) != after[name].get(key)]
        print(f"{name}: {len(keys)} values, {len(changes)} differ" + "".join(f"\n  {key}" for key in changes[:10]))
        different |= bool(changes)
    return int(different)


def record(name: str, words: str) -> dict[str, object]:
    """Run one command in a folder of its own: place -> number or hash."""
    with tempfile.TemporaryDirectory() as place:
        command = python_command("mlbench", *words.split(), f"out={place}", "threads=1")
        print(f"{name}: mlbench {words}", flush=True)
        nowhere = {"XDG_CACHE_HOME": place, "MLBENCH_DATA": f"{place}/data"}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | nowhere)
        found: dict[str, object] = {}
        for folder in sorted(path.parent for path in Path(place).rglob("summary.json")):
            found |= numbers_of(folder)
        return found


def numbers_of(folder: Path) -> dict[str, object]:
    """Everything in a run's folder that must not change."""
    found: dict[str, object] = {}
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    for part in ("metrics", "costs"):
        found |= {f"{part}.{name}": value for name, value in summary[part].items() if not timed(name)}
    for number, line in enumerate((folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        if not timed(str(row["metric"])):
            found[f"metrics.jsonl:{number}"] = line
    for path in sorted(folder.glob("*.csv")):
        for number, row in enumerate(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))):
            found |= {f"{path.name}:{number}.{name}": value for name, value in row.items() if not timed(name)}
    for path in sorted(folder.glob("checkpoints/*.pt")):
        found[f"checkpoints/{path.name}"] = hash_of_weights(path)
    return found


def timed(name: str) -> bool:
    """Whether the name is one of a time, or of what depends on the machine's state."""
    return any(part in name for part in TIMES)


def hash_of_weights(path: Path) -> str:
    """A hash of all weights in a checkpoint."""
    import torch

    content = torch.load(path, map_location="cpu", weights_only=True)
    weights = content.get("network", content)["weights"]
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
