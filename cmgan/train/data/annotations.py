"""Panoptic annotations in an archive: which entries they are, and to which picture they belong.

The segment ids of `PLACE/STEM.jpg` are in `PLACE/STEM.png` and its segments in `PLACE/STEM.json`, a list of
{id, isthing, category_id, ...}; or those of all pictures in one COCO-panoptic file (Kirillov et al. 2019), whose
annotations name a PNG by `file_name` and whose categories say what is a thing.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from pathlib import PurePosixPath
from typing import Any

from cmgan.errors import PictureError, about
from cmgan.imaging.limits import Limits
from cmgan.masks.segments import Segments, read_json, read_segments
from cmgan.train.data.archive import Archive

_MAX_JSON = 2**30  # bytes; COCO's own file has 370 million
_OTHER_PICTURES = (".jpg", ".jpeg", ".webp", ".JPG", ".JPEG")


class Annotations:
    """The annotations in one archive, which may be that of the pictures (`beside`)."""

    def __init__(self, archive: Archive, *, beside: bool) -> None:
        self._archive = archive
        self._beside = beside
        self._listed = _coco_panoptic(archive)
        self._listed_png = {
            _stem(name): number
            for number, name in enumerate(archive.names if self._listed else ())
            if name.endswith(".png") and _stem(name) in self._listed
        }

    def owns(self, name: str) -> bool:
        """Whether that entry of the archive of the pictures is an annotation and no picture."""
        if not self._beside or not name.endswith(".png"):
            return False
        stem = name.removesuffix(".png")
        partner = any(self._find(stem + suffix) is not None for suffix in _OTHER_PICTURES)
        return _stem(name) in self._listed or (partner and self._find(f"{stem}.json") is not None)

    def segments(self, picture: str, limits: Limits) -> Segments | None:
        """The annotation of that picture; None where there is none; PictureError: annotation, or the PNG's own."""
        stem = picture.rpartition(".")[0]
        short = _stem(picture)
        if short in self._listed_png:
            return self._read(self._listed_png[short], self._listed[short], limits)
        png, info = self._find(f"{stem}.png"), self._find(f"{stem}.json")
        if png is None or info is None or (self._beside and picture.endswith(".png")):
            return None
        return self._read(png, _json(self._archive, info), limits)

    def _read(self, png: int, info: Any, limits: Limits) -> Segments:
        with about(f"{self._archive.path}/{self._archive.names[png]}"):
            return read_segments(self._archive.read(png, limits.max_file_bytes), info)

    def _find(self, name: str) -> int | None:
        """The entry of that name, or of the same one composed or decomposed, as another system may have stored it."""
        names = self._archive.names
        for form in (name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)):
            place = bisect_left(names, form)
            if place < len(names) and names[place] == form:
                return place
        return None


def _stem(name: str) -> str:
    """As stems are compared: composed."""
    return unicodedata.normalize("NFC", PurePosixPath(name).stem)


def _json(archive: Archive, number: int) -> Any:
    with about(f"{archive.path}/{archive.names[number]}"):
        return read_json(archive.read(number, _MAX_JSON))


def _coco_panoptic(archive: Archive) -> dict[str, list[dict[str, Any]]]:
    """The segments by the stem of their PNG, of every `panoptic*.json`; a category says what is a thing."""
    listed: dict[str, list[dict[str, Any]]] = {}
    for number, name in enumerate(archive.names):
        if name.endswith(".json") and PurePosixPath(name).name.startswith("panoptic"):
            file = _json(archive, number)
            try:
                things = {category["id"]: category["isthing"] for category in file["categories"]}
                for annotation in file["annotations"]:
                    segments = annotation["segments_info"]
                    kinds = [{"id": s["id"], "isthing": things[s["category_id"]]} for s in segments]
                    listed[_stem(annotation["file_name"])] = kinds
            except (KeyError, TypeError) as error:
                message = f"is not in the format of COCO panoptic ({type(error).__name__} {str(error)[:60]})"
                raise PictureError("annotation_json", message, file=f"{archive.path}/{name}") from None
    return listed
