"""Archives that are read in place and in any order: a folder, a zip, a tar, a folder with tars (WebDataset shards).

Nothing is unpacked and nothing is written beside the data. An entry counts if its name ends like a picture or an
annotation; hidden ones, links, absolute names and names with `..` are left out and counted. Entries are sorted by name,
so that every kind of archive gives the same collection in the same order.
"""

from __future__ import annotations

import logging
import os
import zipfile
import zlib
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol, cast, overload

import numpy as np

from cmgan.errors import PictureError, about, shown, warn
from cmgan.imaging.listing import suffixes
from cmgan.imaging.source import read_source
from cmgan.train.data.tar_index import index_of_tar

PICTURE_SUFFIXES = suffixes()
_SUFFIXES = (*PICTURE_SUFFIXES, ".json")

logger = logging.getLogger("cmgan")


class Names(Sequence[str]):
    """Many names in two arrays: quick to hand to a worker, where two million `str` objects are not."""

    def __init__(self, names: Iterable[str]) -> None:
        encoded = [os.fsencode(name) for name in names]
        self._ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        self._text = b"".join(encoded)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return os.fsdecode(self._text[self._ends[index] : self._ends[index + 1]])


class Archive(Protocol):
    """Named entries, sorted by name, that can be read in any order and by several processes at once."""

    path: Path
    names: Names
    sizes: np.ndarray  # int64, bytes as stored

    def read(self, index: int, max_bytes: int) -> bytes:
        """The bytes of entry `index`; more than `max_bytes`, or none, or a damaged archive raise `PictureError`."""


def open_archive(path: Path) -> Archive:
    """The archive at `path`; a folder with tars in it is one of shards, whatever else it holds: that is left out, with
    a warning.

    Raises:
        PictureError: not_found, archive_format (neither folder, zip nor plain tar), archive_truncated,
            archive_damaged, unreadable.
    """
    try:
        if path.is_dir():
            shards = _shards(path)
            return Tars(path, shards) if shards else Folder(path)
        if not path.exists():
            raise PictureError("not_found", "no such file or folder; check the path", file=path)
        if path.is_file() and zipfile.is_zipfile(path):
            return Zip(path)
        if path.is_file() and path.suffix != ".zip":
            return Tars(path, [path])
    except OSError as error:
        raise PictureError("unreadable", f"cannot be read ({error.strerror})", file=path) from None
    raise PictureError("archive_format", "neither a folder, a zip nor a plain tar; or it is cut", file=path)


class Folder:
    """A folder and its sub-folders; links are followed, each file and each folder is taken once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        names, identities, sizes = _walk(path)
        order = sorted(range(len(names)), key=names.__getitem__)
        _, first = np.unique(identities[order], axis=0, return_index=True)  # a file reached twice keeps its first name
        kept = [order[i] for i in sorted(first)]
        self.names = Names(names[i] for i in kept)
        self.sizes = sizes[kept]

    def read(self, index: int, max_bytes: int) -> bytes:
        return read_source(self.path / self.names[index], max_bytes)


class Zip:
    """A zip; of entries of one name the last counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._owner = -1
        entries = self._opened().namelist()
        names = sorted({name for name in entries if not name.endswith("/") and is_wanted(name)})
        _report(path, len(entries) - len(names))
        self.names = Names(names)
        self.sizes = np.array([self._opened().getinfo(name).file_size for name in names], np.int64)

    def read(self, index: int, max_bytes: int) -> bytes:
        name = self.names[index]
        try:
            with about(f"{self.path}/{name}"), self._opened().open(name) as stream:
                return read_source(cast(BinaryIO, stream), max_bytes)
        # A password, an unknown compression, a wrong checksum, damaged data.
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error, EOFError, OSError) as error:
            raise PictureError("archive_damaged", f"cannot be unpacked ({error})", file=f"{self.path}/{name}") from None

    def _opened(self) -> zipfile.ZipFile:
        """The open file of this process: a position in it must not be shared with a parent."""
        if self._owner != os.getpid():
            try:
                self._zip, self._owner = zipfile.ZipFile(self.path), os.getpid()
            except zipfile.BadZipFile as error:
                raise PictureError("archive_damaged", f"no readable zip ({error})", file=self.path) from None
        return self._zip

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "names": self.names, "sizes": self.sizes, "_owner": -1}


class Tars:
    """Plain tars, indexed by one scan of their headers. Where there are several, `SHARD/` begins each name."""

    def __init__(self, path: Path, shards: list[Path]) -> None:
        self.path = path
        self._shards = shards
        indexes = [index_of_tar(shard) for shard in shards]
        found: dict[str, int] = {}  # name -> number of the entry in all shards; the last of one name counts
        first = 0
        for shard, index in zip(shards, indexes, strict=True):
            prefix = f"{shard.stem}/" if len(shards) > 1 else ""
            for number, name in enumerate(index.names, first):
                if is_wanted(name):
                    found[prefix + name.removeprefix("./")] = number
            first += len(index.names)
        _report(path, first - len(found))
        names = sorted(found)
        self.names = Names(names)
        entries = np.array([found[name] for name in names], np.int64)
        self._shard = np.repeat(np.arange(len(shards)), [len(index.names) for index in indexes])[entries]
        self._offset = np.concatenate([index.offsets for index in indexes])[entries]
        self.sizes = np.concatenate([index.sizes for index in indexes])[entries]

    def read(self, index: int, max_bytes: int) -> bytes:
        shard, name = self._shards[self._shard[index]], f"{self.path}/{self.names[index]}"
        size = int(self.sizes[index])
        if size > max_bytes:
            raise PictureError("file_too_large", f"{size} bytes; the limit is {max_bytes}", file=name)
        try:
            with open(shard, "rb", buffering=0) as file:
                data = os.pread(file.fileno(), size, int(self._offset[index]))
        except OSError as error:
            raise PictureError("unreadable", f"cannot be read ({error.strerror})", file=name) from None
        if size == 0:
            raise PictureError("empty", "there is nothing in it (0 bytes)", file=name)
        if len(data) < size:
            raise PictureError("archive_truncated", f"{len(data)} of {size} bytes are there", file=name)
        return data


def is_wanted(name: str) -> bool:
    """Whether an entry of that name is a picture or an annotation, and harmless as a relative path."""
    hidden = "/." in f"/{name.removeprefix('./')}"  # `..` too
    return name.lower().endswith(_SUFFIXES) and not hidden and not name.startswith("/")


def _report(path: Path, ignored: int) -> None:
    if ignored:
        logger.info("%s: %d entries ignored: no pictures, hidden, or of a name that comes again", shown(path), ignored)


def _shards(folder: Path) -> list[Path]:
    """The tars in `folder`, sorted; if there are any, it is said what is left out beside them."""
    with os.scandir(folder) as entries:
        visible = [(entry.name, entry.is_file()) for entry in entries if not entry.name.startswith(".")]
    tars = sorted(name for name, is_file in visible if is_file and name.endswith(".tar"))
    others = sorted({name for name, _ in visible} - set(tars))
    if tars and others:
        named = ", ".join(map(shown, others[:3])) + (", ..." if len(others) > 3 else "")
        warn("beside_shards", f"{folder}: its {len(tars)} tars are read, {len(others)} others left out: {named}")
    return [folder / name for name in tars]


def _walk(root: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names relative to `root`, (device, inode) and size of every wanted file."""
    names: list[str] = []
    numbers = array("Q")
    seen = set()
    ignored = 0
    folders = [""]
    while folders:
        folder = folders.pop()
        status = os.stat(root / folder)
        if (status.st_dev, status.st_ino) in seen:  # a link back, or a second way here
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(root / folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                name = f"{folder}{entry.name}"
                if entry.is_dir():
                    folders += [] if entry.name.startswith(".") else [f"{name}/"]
                elif is_wanted(entry.name) and entry.is_file():
                    status = entry.stat()
                    names.append(name)
                    numbers.extend((status.st_dev, status.st_ino, status.st_size))
                else:
                    ignored += 1
    _report(root, ignored)
    table = np.array(numbers, np.uint64).reshape(-1, 3)
    return names, table[:, :2], table[:, 2].astype(np.int64)
