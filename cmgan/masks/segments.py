"""Panoptic annotations: which pixels of a picture belong to which segment, and which segments are things."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from cmgan.errors import PictureError
from cmgan.imaging.limits import Limits
from cmgan.imaging.source import Source, read_source, source_name

VOID = 0  # the id of pixels that belong to no segment
_MAX_JSON = 2**30  # bytes; that of all training pictures of COCO has a third of it


@dataclass(frozen=True, eq=False)
class Segments:
    """The panoptic annotation of one picture.

    Attributes:
        ids: int32 (H, W), the segment of each pixel; 0 where there is none.
        things: the segments that are countable objects, not stuff such as sky or grass.
    """

    ids: np.ndarray
    things: frozenset[int]

    def resized(self, resolution: int) -> Segments:
        """At R x R by nearest neighbour."""
        if self.ids.shape == (resolution, resolution):
            return self
        image = Image.fromarray(self.ids).resize((resolution, resolution), Image.Resampling.NEAREST)
        return Segments(np.asarray(image), self.things)


class AnnotatedPictures(Protocol):
    """Pictures by number, of which some or all have an annotation."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """The path of the picture."""

    def segments(self, index: int) -> Segments | None:
        """Its annotation; None where it has none."""


def read_segments(png: Source, info: list[dict[str, Any]]) -> Segments:
    """The annotation of one picture: a PNG and the list that says what its segments are.

    A pixel of a PNG with grey values or a palette is the segment's id; of one with colours, as in COCO panoptic, the id
    is R + 256 G + 65536 B. `info` has a dict with `id` and `isthing` for each segment, except 0 for none.

    Raises:
        PictureError: those of `read_source`; annotation_image (no such PNG), annotation_json (`info` is not as above),
            annotation_id (the PNG has an id that `info` lacks).
    """
    name = source_name(png)
    ids = _read_ids(png, name)
    kinds = _kinds(info, name)
    known = np.isin(ids, [VOID, *kinds])
    if not known.all():
        odd = int(ids[~known][0])
        raise PictureError("annotation_id", f"pixels have the id {odd}, which its JSON does not list", file=name)
    return Segments(ids, frozenset(i for i, thing in kinds.items() if thing))


def read_json(source: Source) -> Any:
    """The content of a JSON file of annotations.

    Raises:
        PictureError: those of `read_source`; annotation_json.
    """
    data = read_source(source, _MAX_JSON)
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise PictureError("annotation_json", "is no valid JSON; get it again", file=source_name(source)) from None


def _read_ids(png: Source, name: str | None) -> np.ndarray:
    """int32 (H, W)."""
    limits = Limits.from_environment()
    data = read_source(png, limits.max_file_bytes)
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            width, height = image.size
            values = np.asarray(image) if width * height <= limits.max_pixels else None
            mode = image.mode
    except Exception:  # a decoder fed with damaged data raises nearly anything
        raise PictureError("annotation_image", "is no PNG or a damaged one; get it again", file=name) from None
    if values is None:
        message = f"{width}x{height}; the limit is {limits.max_pixels} pixels (CMGAN_MAX_PIXELS)"
        raise PictureError("annotation_image", message, file=name)
    if mode == "RGB":
        return values.astype(np.int32) @ np.array([1, 256, 65536], np.int32)
    if mode in ("1", "L", "P", "I", "I;16"):
        return values.astype(np.int32)
    raise PictureError("annotation_image", f"a PNG of mode {mode}; ids are grey values or RGB colours", file=name)


def _kinds(info: Iterable[Any], name: str | None) -> dict[int, bool]:
    """Segment id -> is it a thing?"""
    kinds: dict[int, bool] = {}
    for entry in info if isinstance(info, list) else [info]:
        segment, thing = (entry.get("id"), entry.get("isthing")) if isinstance(entry, dict) else (None, None)
        if type(segment) is not int or not 0 <= segment < 2**24 or thing not in (True, False):
            message = f"its JSON has {str(entry)[:60]!r}; a list of objects with id and isthing is needed"
            raise PictureError("annotation_json", message, file=name)
        if segment in kinds:
            raise PictureError("annotation_json", f"its JSON lists the id {segment} twice", file=name)
        kinds[segment] = bool(thing)
    return kinds
