"""A disk that loses what was not synced, after which a run has to go on.

`Disk` records what the program asks of the disk, and gives the states in which a power cut could leave a folder:

- the least: names and contents that were synced;
- with names: all names as they are, but contents only as they were synced last. File systems with a journal do that,
  and leave files of length nought.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

Content = dict[str, "Content | bytes"]  # of a folder: name -> a folder or the content of a file


class Disk:
    """What of a folder has been synced.

    Args:
        root: the folder; itself, it is on the disk.
        seen: called with each state that a power cut could leave at one of the moments at which names change or
            something is synced.
    """

    def __init__(self, root: Path, seen: Callable[[Content], None]):
        self.root, self.seen = root, seen
        self.contents: dict[int, bytes] = {}  # of files, by inode
        self.names: dict[int, dict[str, int]] = {}  # of folders, by inode: name -> inode
        self.folders: set[int] = {root.stat().st_ino}
        self.open = ExitStack()  # what was synced stays open, so that no other file gets its inode

    @contextmanager
    def recorded(self) -> Generator[None]:
        """Record inside the context."""
        with self.open, pytest.MonkeyPatch.context() as monkeypatch:
            self.patch(monkeypatch)
            yield

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put recorders in the places of what changes the disk."""
        fsync = os.fsync
        for name in ("rename", "replace", "unlink", "mkdir", "rmdir"):
            monkeypatch.setattr(os, name, self.after(getattr(os, name)))

        def synced(descriptor):
            fsync(descriptor)
            self.sync(Path(f"/proc/self/fd/{descriptor}").readlink())

        monkeypatch.setattr(os, "fsync", synced)

    def after(self, call):
        """The same call, after which the power may fail."""

        def called(*given, **named):
            result = call(*given, **named)
            self.cut()
            return result

        return called

    def sync(self, path: Path) -> None:
        """Note the content of a file or the names in a folder."""
        if not path.is_relative_to(self.root):
            return
        self.open.callback(os.close, os.open(path, os.O_RDONLY))
        if path.is_dir():
            self.folders.add(path.stat().st_ino)
            self.names[path.stat().st_ino] = {each.name: each.stat().st_ino for each in path.iterdir()}
            self.folders |= {each.stat().st_ino for each in path.iterdir() if each.is_dir()}
        else:
            self.contents[path.stat().st_ino] = path.read_bytes()
        self.cut()

    def cut(self) -> None:
        """Show the states that a power cut would leave now."""
        self.seen(self.least(self.root.stat().st_ino))
        self.seen(self.with_names(self.root))

    def least(self, inode: int) -> Content:
        """What is certainly there of a folder."""
        names = self.names.get(inode, {}).items()
        return {name: self.least(of) if of in self.folders else self.contents.get(of, b"") for name, of in names}

    def with_names(self, folder: Path) -> Content:
        """All names, and contents as far as they were synced."""
        return {
            each.name: self.with_names(each) if each.is_dir() else self.contents.get(each.stat().st_ino, b"")
            for each in folder.iterdir()
        }


def write(content: Content, folder: Path) -> None:
    """Make a folder with this content, in the place of what is there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, part in content.items():
        if isinstance(part, dict):
            write(part, folder / name)
        else:
            (folder / name).write_bytes(part)


def digest(content: Content) -> str:
    """A hash of a state."""
    parts = sorted((name, digest(part) if isinstance(part, dict) else part) for name, part in content.items())
    return hashlib.sha256(repr(parts).encode()).hexdigest()
