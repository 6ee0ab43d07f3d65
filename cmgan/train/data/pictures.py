"""The pictures of an archive: which of its entries they are, their annotations."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from cmgan.errors import PictureError
from cmgan.imaging.limits import Limits
from cmgan.masks.segments import Segments
from cmgan.train.data.annotations import Annotations
from cmgan.train.data.archive import PICTURE_SUFFIXES, Archive, open_archive


class Pictures:
    """Pictures by number, in the order of their names; may be pickled, and read by several processes at once."""

    def __init__(self, archive: Archive, members: np.ndarray, annotations: Annotations, limits: Limits) -> None:
        self._archive = archive
        self._members = members
        self._annotations = annotations
        self.limits = limits

    def __len__(self) -> int:
        return len(self._members)

    def name(self, index: int) -> str:
        """The path within the archive, with `/`."""
        return self._archive.names[int(self._members[index])]

    def read(self, index: int) -> bytes:
        """The bytes of the file; `PictureError` where they cannot be had or are more than the limit."""
        return self._archive.read(int(self._members[index]), self.limits.max_file_bytes)

    def segments(self, index: int) -> Segments | None:
        """The panoptic annotation, or None where the picture has none; a damaged one raises `PictureError`."""
        return self._annotations.segments(self.name(index), self.limits)

    @property
    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 over names and sizes: the same for the same collection, in whatever kind of archive."""
        digest = hashlib.sha256()
        for member in self._members.tolist():
            digest.update(f"{self._archive.names[member]}\0{self._archive.sizes[member]}\0".encode(errors="replace"))
        return digest.hexdigest()


def open_pictures(
    path: Path,
    annotations: Path | None = None,
    *,
    suffix: str = "",
    limits: Limits | None = None,
) -> Pictures:
    """The pictures of a folder, zip, tar or folder of tars, without unpacking.

    With a `suffix` such as `image.jpg` only those count whose names end so, behind a dot: a sample of WebDataset may
    hold several pictures. Annotations lie in an archive of their own, at the pictures' names, or beside the pictures
    (see `annotations.py`).

    Raises:
        PictureError: those of `open_archive`; no_pictures.
    """
    archive = open_archive(path)
    source = Annotations(open_archive(annotations) if annotations else archive, beside=annotations is None)
    ending = f".{suffix.lower().removeprefix('.')}" if suffix else ""
    members = [
        number
        for number, name in enumerate(archive.names)
        if name.lower().endswith(PICTURE_SUFFIXES) and name.lower().endswith(ending) and not source.owns(name)
    ]
    if not members:
        looked = ending or ", ".join(PICTURE_SUFFIXES)
        message = f"no picture in it ({looked}; hidden files do not count)"
        raise PictureError("no_pictures", message, file=path)
    return Pictures(archive, np.array(members, np.int64), source, limits or Limits.from_environment())
