"""Folders of panoptic annotations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

from cmgan.errors import PictureError, UsageError
from cmgan.train.masks.segments import Segments, read_json, read_segments


class Annotations(Sequence[Segments]):
    """The annotations of a folder, sorted by name; one is read when it is asked for.

    The folder has either, for each picture, STEM.png and STEM.json (a list of objects with `id` and `isthing`), or one
    JSON file in the format of COCO panoptic with the PNGs beside it or in a folder of its name.

    Raises:
        UsageError: not_a_folder, no_annotations.
        PictureError: as `read_segments`, also when an annotation is read; annotation_missing (half a pair).
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UsageError("not_a_folder", "no such folder; a folder of annotations is needed", file=folder)
        files = sorted(f for f in folder.iterdir() if f.suffix == ".json" and not f.name.startswith("."))
        coco = read_json(files[0]) if len(files) == 1 else None
        if isinstance(coco, dict):
            self._entries = _coco_entries(coco, files[0])
        else:
            self._entries = {f.stem: (f.with_suffix(".png"), f) for f in files}
        if not self._entries:
            raise UsageError("no_annotations", "no annotation in this folder (STEM.png with STEM.json)", file=folder)
        for png, _ in self._entries.values():
            if not png.is_file():
                raise PictureError("annotation_missing", "the PNG of an annotation is missing", file=png)
        self.stems = sorted(self._entries)

    def __len__(self) -> int:
        return len(self.stems)

    @overload
    def __getitem__(self, index: int) -> Segments: ...
    @overload
    def __getitem__(self, index: slice) -> list[Segments]: ...
    def __getitem__(self, index: int | slice) -> Segments | list[Segments]:
        if isinstance(index, slice):
            return [self.of(stem) for stem in self.stems[index]]
        return self.of(self.stems[index])

    def __contains__(self, stem: object) -> bool:
        return stem in self._entries

    def of(self, stem: str, *, size: tuple[int, int] | None = None) -> Segments:
        """The annotation of the picture of that stem; `size`, (width, height), is checked where it is given."""
        png, info = self._entries[stem]
        return read_segments(png, read_json(info) if isinstance(info, Path) else info, size=size)


def _coco_entries(coco: dict[str, Any], file: Path) -> dict[str, tuple[Path, Any]]:
    """Stem -> its PNG, and the segments with `isthing`, which COCO says of categories only."""
    try:
        thing = {category["id"]: category["isthing"] for category in coco["categories"]}
        found: dict[str, tuple[Path, Any]] = {}
        for annotation in coco["annotations"]:
            segments = [{"id": s["id"], "isthing": thing[s["category_id"]]} for s in annotation["segments_info"]]
            name = Path(annotation["file_name"]).name
            beside, within = file.parent / name, file.with_suffix("") / name
            found[Path(name).stem] = (beside if beside.is_file() else within, segments)
        return found
    except (KeyError, TypeError, ValueError) as error:
        message = f"is not in the format of COCO panoptic ({type(error).__name__} {str(error)[:60]})"
        raise PictureError("annotation_json", message, file=file) from None
