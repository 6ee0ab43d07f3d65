"""Picture files by their names: one table of suffixes, one way to list a folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from cmgan.errors import UsageError, shown
from cmgan.imaging.limits import DEFAULT_FORMATS

# Suffix -> format, as `decode` and `Limits.formats` call it.
SUFFIXES: Mapping[str, str] = {
    **{".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"},
    **{".bmp": "bmp", ".tif": "tiff", ".tiff": "tiff", ".avif": "avif"},
}

logger = logging.getLogger("cmgan")


def suffixes(formats: Iterable[str] = DEFAULT_FORMATS) -> tuple[str, ...]:
    """The suffixes that files of these formats have, lower case."""
    wanted = set(formats)
    return tuple(suffix for suffix, format in SUFFIXES.items() if format in wanted)


def pictures_in(
    folder: Path,
    formats: Iterable[str] = DEFAULT_FORMATS,
    *,
    recursive: bool = False,
    without: Collection[Path] = (),
) -> list[Path]:
    """The picture files of `folder`, sorted; nothing hidden, nothing of the folders `without`, no linked folder.

    Raises:
        UsageError: not_a_folder, no_pictures.
    """
    if not folder.is_dir():
        raise UsageError("not_a_folder", "no such folder", file=folder)
    endings, closed = suffixes(formats), {other.resolve() for other in without}
    found, ignored = [], 0
    for place, folders, names in os.walk(folder):
        within = [f for f in folders if not f.startswith(".") and Path(place, f).resolve() not in closed]
        folders[:] = within if recursive else []
        for name in names:
            if not name.startswith(".") and name.lower().endswith(endings):
                found.append(Path(place, name))
            else:
                ignored += 1
    if ignored:
        logger.info("%s: %d files of other kinds ignored", shown(folder), ignored)
    if not found:
        raise UsageError("no_pictures", f"no picture in it ({', '.join(endings)})", file=folder)
    return sorted(found)
