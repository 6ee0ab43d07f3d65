"""Where the files of a tar lie: found by one scan of its headers, kept in the user's cache for the next time."""

from __future__ import annotations

import logging
import os
import tarfile
import zipfile
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cmgan.errors import CmganError, PictureError, shown
from cmgan.files import cache_folder, sha256, write_with

_SCHEMA = 2  # of the cached file
_BLOCK = 512  # bytes

logger = logging.getLogger("cmgan")


@dataclass(frozen=True, eq=False)
class TarIndex:
    """The regular files of one tar, in its order.

    Attributes:
        names: as stored.
        offsets, sizes: int64 (n,), bytes: where the data begins and how long it is.
    """

    names: list[str]
    offsets: np.ndarray
    sizes: np.ndarray


def index_of_tar(path: Path) -> TarIndex:
    """The index of a plain tar, from the cache if neither its size nor its time has changed since.

    Raises:
        PictureError: archive_format (compressed, or no tar), archive_truncated.
    """
    status = os.stat(path)
    key = f"{_SCHEMA}\n{path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    cached = cache_folder() / "tar-index" / f"{sha256(os.fsencode(key))}.npz"
    try:
        return _load(cached)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # not there, or damaged
        index = _scan(path)
    try:
        cached.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_with(cached, lambda file: _save(file, index))
    except (OSError, CmganError) as error:
        logger.info("the index of %s was not kept: %s", shown(path), error)
    return index


def _scan(path: Path) -> TarIndex:
    names: list[str] = []
    places = array("q")
    start: int | None = 0
    try:
        with open(path, "rb") as file:
            while start is not None:  # tars may be joined, one behind the end mark of the other
                end = _scan_one(file, start, names, places)
                start = _not_zero(file, end)
    except tarfile.ReadError as error:
        raise _refusal(error, path, len(names)) from None
    table = np.array(places, np.int64).reshape(-1, 2)
    return TarIndex(names, table[:, 0], table[:, 1])


def _scan_one(file: BinaryIO, start: int, names: list[str], places: array[int]) -> int:
    """Add the files of the tar that begins at byte `start`; where its end mark is."""
    file.seek(start)
    with tarfile.open(fileobj=file, mode="r:", errorlevel=1) as tar:
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # it would keep every header
            if member.isreg() and not member.issparse():
                names.append(member.name)
                places.extend((member.offset_data, member.size))
        end: int = tar.offset
    file.seek(end)
    if file.read(_BLOCK) != bytes(_BLOCK):  # tarfile takes a bad header for the end
        raise tarfile.ReadError("no end mark" if end > start else f"what follows at byte {start} is no tar")
    return end


def _not_zero(file: BinaryIO, position: int) -> int | None:
    """The first block from `position` on with anything but zeros; None if there is none."""
    file.seek(position)
    while piece := file.read(2**20):
        if filled := piece.lstrip(b"\0"):
            return position + (len(piece) - len(filled)) // _BLOCK * _BLOCK
        position += len(piece)
    return None


def _refusal(error: tarfile.ReadError, path: Path, count: int) -> PictureError:
    with open(path, "rb") as file:
        start = file.read(6)
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
        message = "a compressed tar cannot be read in any order; uncompress it (pictures hardly shrink)"
        return PictureError("archive_format", message, file=path)
    if count == 0:
        return PictureError("archive_format", "neither a folder, a zip nor a plain tar; or it is cut", file=path)
    message = f"the archive is cut or damaged after {count} files ({error}); get a whole copy"
    return PictureError("archive_truncated", message, file=path)


def _save(file: Path, index: TarIndex) -> None:
    text = np.frombuffer("\0".join(index.names).encode("utf-8", "surrogateescape"), np.uint8)  # no name holds NUL
    with open(file, "wb") as stream:
        np.savez(stream, names=text, offsets=index.offsets, sizes=index.sizes)


def _load(file: Path) -> TarIndex:
    with np.load(file, allow_pickle=False) as stored:
        text = stored["names"].tobytes().decode("utf-8", "surrogateescape")
        index = TarIndex(text.split("\0") if text else [], stored["offsets"], stored["sizes"])
    if not len(index.names) == len(index.offsets) == len(index.sizes):
        raise ValueError("a damaged index")
    return index
