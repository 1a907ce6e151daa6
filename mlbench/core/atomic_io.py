"""Files and folders that appear complete or not at all, also when the power fails while they are written.

A reader finds the old file or the new one. What is written before something else is on the disk before it: contents are
synced before they get their name, and the name before the function returns.
"""

import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from mlbench.core.errors import RunError, UserError

PART = ".part"  # the ending of a file or folder that is being written
OURS = re.compile(rf"\..+\.[0-9a-f]{{8}}{re.escape(PART)}")


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file under another name, then rename it to `path`: a reader sees the old file or the new one.

    Args:
        path: The file.
        write: Writes the content to a binary stream.

    Raises:
        RunError: If the file cannot be written (disk full, no permission).
    """
    try:
        make_folders(path.parent)
        remove_parts(path.parent)
        with part_file(path) as (stream, beside):
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
            beside.replace(path)
        sync(path.parent)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    write_whole(path, lambda stream: stream.write(text.encode()))


def write_json(path: Path, content: object) -> None:
    """Write `content` as readable JSON, whole or not at all; NaN is refused (a metric not defined is left out)."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


@contextmanager
def new_folder(folder: Path) -> Generator[None]:
    """Make a folder and its parents; remove those that are new if the body of the context fails."""
    first = next((place for place in reversed([folder, *folder.parents]) if not place.exists()), None)
    try:
        make_folders(folder)
        yield
    except BaseException:
        if first is not None:
            shutil.rmtree(first, ignore_errors=True)
        raise


def create_folder(folder: Path, texts: dict[str, str], replace: bool = False) -> None:
    """Create a folder together with its first files, in one step; if another process is faster, its folder stays.

    Args:
        folder: The folder to create.
        texts: Name of each file -> its content.
        replace: Whether an existing folder is removed first.

    Raises:
        UserError: If the folder cannot be written.
    """
    try:
        with part_folder(folder) as part:
            for name, text in texts.items():
                (part / name).parent.mkdir(exist_ok=True)
                (part / name).write_text(text, encoding="utf-8")
            if replace and folder.exists():
                replace_folder(folder, part)
            else:
                move_into_place(part, folder)
    except OSError as error:
        raise UserError(f"cannot write results into {folder.parent}: {error.strerror}; choose another out=") from error


def replace_folder(folder: Path, part: Path) -> None:
    """Put a complete folder in the place of an older one, which stays where that fails. Raises OSError."""
    sync_tree(part)  # a full disk shows here, while the older one is in its place
    with part_folder(folder) as aside:
        folder.rename(aside)
        try:
            rename_into_place(part, folder)
        except BaseException:
            with suppress(OSError):  # the new one is there already
                aside.rename(folder)
            raise


def sync_tree(folder: Path) -> None:
    """Put a folder and all that is in it on the disk. Raises OSError."""
    for place, _, files in os.walk(folder, topdown=False):
        for name in files:
            sync(Path(place, name))
        sync(Path(place))


def move_into_place(part: Path, folder: Path) -> None:
    """Rename a complete folder to `folder`, unless another process was faster. Raises OSError."""
    sync_tree(part)
    rename_into_place(part, folder)


def rename_into_place(part: Path, folder: Path) -> None:
    """The same for a folder that is on the disk. Raises OSError."""
    try:
        part.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    sync(folder.parent)


@contextmanager
def part_file(path: Path) -> Generator[tuple[IO[bytes], Path]]:
    """A new file beside `path` to write to, and its path; removed unless it has been renamed. Raises OSError."""
    with ExitStack() as stack:
        while True:
            beside = part_name(path)
            stream = stack.enter_context(beside.open("xb"))
            stack.callback(beside.unlink, missing_ok=True)
            if hold(stream.fileno(), beside):
                break
        yield stream, beside


@contextmanager
def part_folder(folder: Path) -> Generator[Path]:
    """A new folder beside `folder`, to be filled and moved into its place; removed unless it has been. Raises OSError.

    What killed processes left there is removed.
    """
    make_folders(folder.parent)
    remove_parts(folder.parent)
    with ExitStack() as stack:
        while True:
            part = part_name(folder)
            part.mkdir()
            stack.callback(shutil.rmtree, part, ignore_errors=True)
            try:
                descriptor = os.open(part, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:  # another process took it for one that was left behind
                continue
            stack.callback(os.close, descriptor)
            if hold(descriptor, part):
                break
        yield part


def part_name(path: Path) -> Path:
    """A name beside `path` that nobody has."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{PART}")


def hold(descriptor: int, part: Path) -> bool:
    """Lock an open part until it is closed, which says that its process lives; whether nobody removed it before that.

    Not every file system can lock; there parts of killed processes stay.
    """
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return is_at(descriptor, part)


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def remove_parts(folder: Path) -> None:
    """Remove the parts directly in a folder that killed processes left: those that nobody holds."""
    for part in folder.glob(f".*{PART}"):
        if OURS.fullmatch(part.name) is None:
            continue
        with suppress(OSError):
            descriptor = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                    shutil.rmtree(part, ignore_errors=True)
                else:
                    part.unlink()
            finally:
                os.close(descriptor)


def make_folders(folder: Path) -> None:
    """Make a folder and its parents, their names on the disk. Raises OSError."""
    for place in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
        place.mkdir(exist_ok=True)
        sync(place.parent)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def sync(path: Path) -> None:
    """Put a file's content, or the names in a folder, on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems keep the names of folders without being asked
            raise
    finally:
        os.close(descriptor)


def open_to_append(path: Path) -> IO[bytes]:
    """Open a regular file to read and append, or make it; its content stays.

    A run's folder may come from somebody else: what lies there under a file's name must not lead to another file.

    Raises:
        OSError: A link, a pipe or a device is in the file's place, or it cannot be opened.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(error.errno, "it is a symbolic link", str(path)) from error
        raise
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode) or state.st_nlink > 1:
        os.close(descriptor)
        what = "it has another name as well" if stat.S_ISREG(state.st_mode) else "it is not a file"
        raise OSError(errno.EINVAL, what, str(path))
    return os.fdopen(descriptor, "ab+")
