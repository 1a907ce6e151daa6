"""Valid small files, damaged at random, and loaded by what the command line loads them with.

    python -m tests.mutations COUNT

damages so many, with little room in memory and ten seconds for each.
"""

import io
import json
import random
import resource
import signal
import struct
import sys
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from omegaconf import OmegaConf
from scipy.io import wavfile

import mlbench
from mlbench.core.errors import UserError
from mlbench.core.input_files import read_json
from mlbench.data.datasets import conllu
from mlbench.data.datasets.table import Table
from mlbench.data.npz_format import read_npz
from mlbench.data.wave_files import read_wave
from mlbench.experiment.resume import reopened
from mlbench.runs import layout
from mlbench.runs.checkpoint_file import read_tensors
from mlbench.runs.codec import container
from mlbench.runs.foreign_weights import given_weights
from mlbench.runs.loggers.base import Logger
from mlbench.runs.provenance import environment, recorded
from mlbench.runs.tensor_file import checksum, encode
from mlbench.runs.tracking import Tracker

PUBLISHED = Path(__file__).parent / "published"
NAMES = "data: digits\nmodel: mlp\nlifelong: null\n"
SENTENCES = """# sent_id = GUM_news-1
1\tHe\the\tPRON\tPRP\t_\t2\tnsubj\t_\tEntity=(1-person)
2\tsaw\tsee\tVERB\tVBD\t_\t0\troot\t_\t_
2-3\tLondon's\t_\t_\t_\t_\t_\t_\t_\t_
3\tLondon\tLondon\tPROPN\tNNP\t_\t2\tobj\t_\tEntity=(2-place-x
4\t.\t.\tPUNCT\t.\t_\t2\tpunct\t_\tEntity=2)

"""
TOKENS = [b"${oc.env:HOME}", b"${seed}", b"&a [*a]", b"*a", b"[" * 3000, b"{a: " * 900, b"9" * 400, b"9" * 9000, b"NaN"]
TOKENS += [b"-Infinity", b"\xed\xa0\x80", b"\\ud800", b"\xff\xfe", b"\0", b"!!python/object/apply:os.getcwd []", b"???"]
TOKENS += [b"(" * 3000, b"-" * 5000 + b"1", b"_target_: mlbench.__main__.X\n", b"\r", b"\n", b'"', b"null", b"1e999"]
TOKENS += [
    b"<<: {a: b}\n",
    b"? [1]\n: 2\n",
    b"\t" * 50,
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"cposix\nsystem\n",
    b"# global.columns =",
]
EXTREMES = [0, 1, -1, 2**7, 2**15, 2**31 - 1, -(2**31), 2**32 - 1, 2**40, 2**62]
RESEALED = 0.4  # of the damaged files whose checksums are made right again


class Silent(Logger):
    """A logger that writes nothing."""

    package = "silent"

    def begin(self, folder, name, config, run):
        return "run"

    def log(self, measurements):
        pass

    def finish(self, results, files):
        pass

    def close(self, done):
        pass


@dataclass
class Kind:
    """A kind of file: valid ones, what loads one, and what gives a damaged one right checksums again.

    `same` says whether what was loaded equals what is in the undamaged file, which it must where nothing was resealed.
    """

    name: str
    originals: list[bytes]
    load: Callable[[Path], Any]
    reseal: Callable[[bytes, random.Random], bytes] = lambda content, _: content
    same: Callable[[Any, Any], bool] = lambda _, __: True


def weights(net: torch.nn.Module) -> dict[str, torch.Tensor]:
    return net.state_dict()


def equal(found: torch.nn.Module, known: torch.nn.Module) -> bool:
    return weights(found).keys() == weights(known).keys() and all(
        torch.equal(tensor, weights(known)[name]) for name, tensor in weights(found).items()
    )


def reseal_archive(content: bytes, draws: random.Random) -> bytes:
    """A zip archive with one member damaged and its checksum right."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w") as new:
        chosen = draws.choice(old.namelist())
        for name in old.namelist():
            new.writestr(name, damaged(old.read(name), draws) if name == chosen else old.read(name))
    return changed.getvalue()


def reseal_container(content: bytes, draws: random.Random) -> bytes:
    """A .mlb with its header, its header's text or its tensors damaged, and its checksum right."""
    size = struct.unpack("<I", content[8:12])[0]
    text, body = zlib.decompress(content[12 : 12 + size]), content[12 + size : -4]
    if draws.random() < 0.6:
        text = zlib.compress(damaged_json(text, draws) if draws.random() < 0.8 else damaged(text, draws))
    else:
        text, body = zlib.compress(text), damaged(body, draws)
    whole = container.MAGIC + struct.pack("<I", len(text)) + text + body
    return whole + struct.pack("<I", zlib.crc32(whole))


def reseal_header(content: bytes, draws: random.Random) -> bytes:
    """A file of safetensors with its JSON damaged, the lengths right, and perhaps the checksum."""
    size = int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8 : 8 + size]), content[8 + size :]
    if draws.random() < 0.5:
        note = json.loads(header["__metadata__"]["mlbench"])
        note["content"] = damaged_json(note["content"].encode(), draws).decode()
        note["crc32"] = checksum(note["content"], safetensors.torch.load(content))
        header["__metadata__"]["mlbench"] = json.dumps(note)
        text = json.dumps(header, separators=(",", ":")).encode()
    else:
        text = damaged_json(json.dumps(header).encode(), draws)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def damaged_json(text: bytes, draws: random.Random) -> bytes:
    """JSON with one value, anywhere inside, in the place of another."""
    value = json.loads(text)
    places = list(places_in(value))
    holder, key = draws.choice(places)
    others = [inner[name] for inner, name in places] + EXTREMES + [[], {}, "", "x" * 100, 1.5, None, True, [[]], "${a}"]
    holder[key] = json.loads(json.dumps(draws.choice(others)))
    return json.dumps(value).encode()


def places_in(value: Any) -> Iterator[tuple[Any, Any]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield value, key
        yield from places_in(part)


def damaged(content: bytes, draws: random.Random) -> bytes:
    """Bytes with one to three random changes."""
    for _ in range(draws.choice([1, 1, 2, 3])):
        place, end = sorted(draws.randrange(len(content) + 1) for _ in range(2))
        size = draws.choice([1, 2, 4, 8, 64])
        extreme = (draws.choice(EXTREMES) % 2**64).to_bytes(8, draws.choice(["little", "big"]))
        content = draws.choice([
            content[:place],
            content[place:],
            content[:place] + content[end:],
            content[:place] + content[place:end] * 3 + content[end:],
            content[:place] + draws.choice(TOKENS) + content[place:],
            content[:place] + draws.choice(TOKENS) + content[place + size :],
            content[:place] + draws.randbytes(size) + content[place + size :],
            content[:place] + extreme[:size] + content[place + min(size, 8) :],
            *[content[:place] + bytes(b ^ 1 << draws.randrange(8) for b in content[place : place + 1])
              + content[place + 1 :]] * 4,
        ])  # fmt: skip
    return content


def make_npz() -> bytes:
    stream = io.BytesIO()
    x, y = np.arange(72, dtype=np.uint8).reshape(4, 3, 3, 2)[..., :1], np.arange(4) % 2
    np.savez(stream, x_train=x, y_train=y, x_test=x, y_test=y, classes=np.array(["a", "bc"]))
    return stream.getvalue()


def make_wav(kind: type) -> bytes:
    stream = io.BytesIO()
    wavfile.write(stream, 8000, (np.sin(np.arange(200)) * 100).astype(kind))
    return stream.getvalue()


def foreign_files() -> list[bytes]:
    """Weights as other programs write them: torch's old format, its archives, and safetensors."""
    weights = {f"module.{n}": torch.arange(6.0).reshape(2, 3) + n for n in range(3)}
    old, new = io.BytesIO(), io.BytesIO()
    torch.save({"state_dict": weights, "epoch": 1}, old, _use_new_zipfile_serialization=False)
    torch.save(weights, new)
    return [old.getvalue(), new.getvalue(), safetensors.torch.save(weights)]


def kinds(folder: Path) -> list[Kind]:
    """All kinds; the folder is for the files of runs."""
    run = folder / "run"
    (run / layout.HYDRA).mkdir(parents=True)
    config = (PUBLISHED / "run" / "config.yaml").read_bytes()

    def resume(name: str) -> Callable[[Path], object]:
        def load(path: Path) -> object:
            for other, content in ((layout.CONFIG, config), (f"{layout.HYDRA}/{layout.GROUP_NAMES}", NAMES.encode())):
                (run / other).write_bytes(path.read_bytes() if other.endswith(name) else content)
            return reopened(run, OmegaConf.create({}), [])

        return load

    def begin(path: Path) -> object:
        (run / layout.ENVIRONMENT).write_bytes(path.read_bytes())
        made = environment(torch.device("cpu"), run, [])
        if not recorded(run):
            raise UserError("it counts as none")
        return made

    def follow(path: Path) -> object:
        """A tracker that goes on with metrics.jsonl: what it cannot read costs the tracker, not the run."""
        (run / layout.METRICS).write_bytes(path.read_bytes())
        (run / layout.TRACKER).unlink(missing_ok=True)
        remarks: list[str] = []
        tracker = Tracker(Silent(), "run", {})
        tracker.begin(run, remarks.append)
        tracker.follow(path.stat().st_size)
        if remarks:
            raise UserError(remarks[0])
        return tracker

    published = {
        ending: [path.read_bytes() for path in sorted(PUBLISHED.glob(f"*.{ending}"))] for ending in ("pt", "mlb")
    }
    small = {ending: sorted(contents, key=len)[:3] for ending, contents in published.items()}
    env = {"git_commit": None, "resumed": ["2020"], "resumed_by": [{"git_commit": "a"}], "inputs": "x", "threads": 1}
    sounds = [make_wav(each) for each in (np.int16, np.uint8, np.float32)]
    measured = [
        {"step": n, "phase": "train", "task": 1, "split": "train", "metric": "loss", "value": 0.5} for n in (1, 2)
    ]
    metrics = "".join(json.dumps(line) + "\n" for line in measured).encode()
    table = b"x,y,kind\n1,2,a\n3,4,b\n5,6,a\n7,8,b\n9,1e3,a\n1,-2,b\n"
    return [
        Kind("pt", small["pt"], mlbench.load, reseal_archive, equal),
        Kind("mlb", small["mlb"], mlbench.load, reseal_container, equal),
        Kind("safetensors", [encode(read_tensors(PUBLISHED / "mlp.pt"))], mlbench.load, reseal_header, equal),
        Kind("pth", foreign_files(), given_weights),
        Kind("npz", [make_npz()], read_npz, reseal_archive),
        Kind("conllu", [SENTENCES.encode() * 2], lambda path: conllu.read(path, r"GUM_([a-z]+)-")),
        Kind("wav", sounds, lambda path: read_wave(path, 8000, 0.05)),
        Kind("csv", [table], lambda path: Table(path=str(path), target="kind", test_share=0.5).load(path)),
        Kind(layout.CONFIG, [config], resume(layout.CONFIG)),
        Kind(layout.GROUP_NAMES, [NAMES.encode()], resume(layout.GROUP_NAMES)),
        Kind(layout.SUMMARY, [(PUBLISHED / "run" / "summary.json").read_bytes()], read_json),
        Kind(layout.METRICS, [metrics], follow),
        Kind(layout.ENVIRONMENT, [json.dumps(env).encode()], begin),
    ]  # fmt: skip


def attempt(kind: Kind, draws: random.Random, folder: Path) -> bool:
    """Damage a file at random and load it; whether it was refused.

    Raises AssertionError where loading gives another network than the undamaged file has, and whatever else but
    UserError loading raises.
    """
    original = draws.choice(kind.originals)
    resealed = draws.random() < RESEALED
    path = folder / f"file.{kind.name}"
    path.write_bytes(kind.reseal(original, draws) if resealed else damaged(original, draws))
    try:
        found = kind.load(path)
    except UserError as error:
        told = str(error)
    else:
        told = ""
    if told:
        assert told.count("\n") <= 2, told
    elif not resealed:
        path.write_bytes(original)
        assert kind.same(found, kind.load(path)), "it is loaded as something else"
    return bool(told)


class TooSlow(BaseException):
    """An input took longer than its time."""


def stop(*_: object) -> None:
    raise TooSlow


def main(count: int) -> None:
    """Damage `count` files. Raises what `attempt` raises, and TooSlow."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, stop)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        every = kinds(folder)
        for kind in every:
            attempt(kind, random.Random(0), folder)  # all modules are there before the memory is measured
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 2**31, size + 2**31))
        warnings.simplefilter("error")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        refused = 0
        for number in range(count):
            kind = every[number % len(every)]
            signal.alarm(10)
            try:
                refused += attempt(kind, random.Random(f"{kind.name} {number}"), folder)
            except BaseException:
                print(f"{kind.name} {number}", file=sys.stderr)
                raise
            signal.alarm(0)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"refused": refused, "grown": grown * 1024}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
