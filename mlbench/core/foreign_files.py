"""What a file is that is none of ours, told by its content; nothing in it is run."""

import io
import json
import zipfile
from pathlib import Path

ALLOWED = "allowed is a finished run's folder or its checkpoints/model.safetensors"
LOOKED_AT = 4096  # bytes that tell a text
HEADS = {  # first bytes -> what such a file is
    b"\x89HDF\r\n\x1a\n": "an HDF5 file (.h5), as Keras writes",
    b"GGUF": "a GGUF file of llama.cpp",
    b"\x93NUMPY": "an array of NumPy (.npy)",
    b"\x1f\x8b": "a gzip archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"\x89PNG": "a picture (.png)",
    b"\xff\xd8\xff": "a picture (.jpg)",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself (git lfs pull fetches it)",
    b"ustar": "a tar archive",
    b"MATLAB": "a file of MATLAB (.mat)",
    b"PAR1": "a file of Parquet",
}
MEMBERS = {  # the end of a name inside a zip archive -> what such an archive is
    "constants.pkl": "a TorchScript archive, as torch.jit.save writes",
    "archive_format": "a program of torch.export (.pt2)",
    "serialized_exported_program.json": "a program of torch.export (.pt2)",
    "model.weights.h5": "a model of Keras (.keras)",
    ".npy": "arrays of NumPy (.npz)",
}


def kind_of_folder(folder: Path) -> str:
    """What a folder is that is no run's; empty for one that says nothing."""
    names = {path.name for path in folder.iterdir()}
    if "saved_model.pb" in names:
        return "a SavedModel of TensorFlow"
    weights = {"model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "adapter_config.json"}
    if (names & weights and "config.json" in names) or "adapter_config.json" in names:
        return "a folder of Hugging Face"
    return ""


def kind_of_file(raw: bytes) -> str:
    """What the content of a file is; empty for what is not known."""
    if not raw:
        return "an empty file"
    for head, what in HEADS.items():
        if raw.startswith(head) or (head == b"ustar" and raw[257:262] == head):
            return what
    if is_safetensors(raw):
        return "a file of safetensors: weights alone, without what builds the network"
    if is_onnx(raw):
        return "a model of ONNX"
    return ""


def kind_of_archive(raw: bytes) -> str:
    """What a zip archive is by the names inside; empty for none, and for what torch.save writes."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            names = archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):  # of damaged ones
        return ""
    for end, what in MEMBERS.items():
        if any(name.endswith(end) for name in names):
            return what
    return "" if any(name.endswith("data.pkl") for name in names) else "a zip archive"


def is_safetensors(raw: bytes) -> bool:
    """Eight bytes of length, then a JSON object of that length."""
    length = int.from_bytes(raw[:8], "little")
    if not 2 <= length <= len(raw) - 8 or raw[8:9] != b"{":
        return False
    try:
        return isinstance(json.loads(raw[8 : 8 + length]), dict)
    except (ValueError, RecursionError):
        return False


def is_text(raw: bytes) -> bool:
    """Whether a file begins as UTF-8, perhaps in the middle of a letter, without control characters of binary files."""
    raw = raw[:LOOKED_AT]
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        if error.start < len(raw) - 3:
            return False
        text = raw[: error.start].decode()
    return not any(letter < " " and letter not in "\t\n\r\f" for letter in text)


def is_onnx(raw: bytes) -> bool:
    """A protocol buffer whose first field is the version of ONNX, and whose second names who wrote it, or a graph."""
    return len(raw) > 4 and raw[0] == 0x08 and 1 <= raw[1] < 0x20 and raw[2] in (0x12, 0x3A, 0x42)


def is_pickle(raw: bytes) -> bool:
    """The beginning of what Python's own pickle writes, and of files by torch.save before there were archives."""
    return len(raw) > 2 and raw[0] == 0x80 and 2 <= raw[1] <= 5
