"""`mlbench predict NETWORK EXAMPLES...`: what a trained network takes pictures, sounds or texts for."""

import argparse
from pathlib import Path

from mlbench.core.csv_files import write_csv
from mlbench.core.errors import UserError
from mlbench.core.user_path import user_path

USAGE = "mlbench predict NETWORK EXAMPLES... [--top 5] [--csv FILE]"


class Parser(argparse.ArgumentParser):
    """Raises UserError in the place of ending the program."""

    def error(self, message: str) -> None:
        """Raise UserError."""
        raise UserError(f"predict: {message}\n{USAGE}")


def predict(words: list[str], folders: list[str]) -> list[str]:
    """The lines of the answer.

    Args:
        words: What stands behind `predict`.
        folders: The folders of the user's own modules.

    Raises:
        UserError: For a network or an example that cannot be read, and for networks that take no such examples.
    """
    parser = Parser(prog="mlbench predict", usage=USAGE, add_help=False)
    parser.add_argument("network", help="the folder of a run, a checkpoint, an artefact or a network in ONNX")
    parser.add_argument("examples", nargs="+", help="files and folders of pictures or sounds, or texts")
    parser.add_argument("--top", type=int, default=5, help="how many classes")
    parser.add_argument("--csv", type=Path, help="a table to write")
    wanted = parser.parse_args(words)
    if wanted.top < 1:
        raise UserError(f"--top={wanted.top}: allowed is 1 or more")
    from mlbench.runs.checkpoint import load

    net = load(wanted.network, folders[0] if folders else None)
    lines, rows = [], []
    for title, example in net.reader.named(wanted.examples):
        (best,) = net.predict(example, wanted.top)
        lines.append(f"{title}: " + ", ".join(f"{name} {share:.3f}" for name, share in best))
        rows += [[title, rank, name, share] for rank, (name, share) in enumerate(best, start=1)]
    if wanted.csv is not None:
        write_csv(user_path(str(wanted.csv)), [net.reader.noun, "rank", "class", "probability"], rows)
        lines.append(str(wanted.csv))
    return lines
