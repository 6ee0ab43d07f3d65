"""Folders of pictures and masks: who belongs to whom, and the work on all of them."""

from __future__ import annotations

import re
import time
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cmgan.errors import BatchError, CmganError, NumbersError, PictureError, SystemRefusal, UsageError, shown
from cmgan.files import check_target
from cmgan.imaging.limits import Limits
from cmgan.imaging.listing import pictures_in
from cmgan.imaging.picture import load_picture
from cmgan.inpaint.inpainter import Inpainter
from cmgan.inpaint.job import Job, JobOptions, fill, write


@dataclass(frozen=True)
class Item:
    """One picture to inpaint."""

    image: Path
    mask: Path
    output: Path


@dataclass(frozen=True)
class FolderOptions:
    """How a folder is worked through."""

    job: JobOptions = field(default_factory=JobOptions)  # of every picture, its seed too; one sample each
    quality: int = 95
    skip_existing: bool = False  # where the output is there and opens
    fail_fast: bool = False


@dataclass(frozen=True)
class ItemResult:
    """What became of an item: done (with the share that was hole), skipped, failed (with the `error`), or waiting where
    the work ended before it."""

    item: Item
    status: str
    seconds: float = 0.0
    hole: float | None = None
    error: CmganError | None = None

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        files = {"image": str(self.item.image), "mask": str(self.item.mask), "output": str(self.item.output)}
        measured = {"status": self.status, "seconds": round(self.seconds, 4), "hole": self.hole}
        return files | measured | ({"error": self.error.slug, "message": self.error.message} if self.error else {})


def pair(images: Path, masks: Path, output: Path, *, recursive: bool, formats: Iterable[str]) -> list[Item]:
    """The pictures of the folder `images`, each with its mask, and where in `output` its result goes.

    `masks` is one mask for all, or a folder (it may be the same one) that holds, at the same place, a file of the
    picture's stem, or else any number of `STEM_mask*`; names are compared after Unicode normalisation. Results are PNG
    and named after the picture, or after the mask where a picture has several. Sub-folders are kept. Hidden files and
    those of other kinds are ignored.

    Raises:
        UsageError: not_a_folder; same_folder, results among pictures or masks; no_pictures; unpaired, naming a picture
            without a mask or a mask without a picture; output_clash, two results of one name.
    """
    if output.resolve() in (images.resolve(), masks.resolve()):
        message = "results would lie among the pictures or masks; name another folder with -o"
        raise UsageError("same_folder", message, file=output)
    same = masks.resolve() == images.resolve()
    pictures = pictures_in(images, formats, recursive=recursive, without=[output, *([] if same else [masks])])
    if not masks.is_dir():
        return _without_clash([Item(p, masks, _result(p, images, output)) for p in pictures])
    candidates = pictures if same else pictures_in(masks, formats, recursive=recursive, without=[output])
    if same:
        pictures = _pictures_beside_masks(pictures)
        candidates = sorted(set(candidates) - set(pictures))
    masks_of, alone = _match(pictures, images, candidates, masks)
    pairs = sum(map(len, masks_of.values()))
    _refuse_unpaired(pairs, [picture for picture, found in masks_of.items() if not found], alone)
    return _without_clash(
        [
            Item(picture, mask, _result(picture, images, output, mask.stem if len(found) > 1 else picture.stem))
            for picture, found in masks_of.items()
            for mask in found
        ]
    )


def parse_shard(text: str) -> tuple[int, int]:
    """`i/n`, the i-th of n shares (1 <= i <= n), as (i, n); anything else raises `UsageError`."""
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError("shard", f"shard {text[:40]!r}; i/n with 1 <= i <= n is needed, as in 2/8")
    return int(match[1]), int(match[2])


def shard(items: list[Item], share: tuple[int, int]) -> list[Item]:
    """Every n-th item from the i-th on: the n shares hold each item once."""
    i, n = share
    return items[i - 1 :: n]


def inpaint_items(
    inpainter: Inpainter, items: list[Item], options: FolderOptions, *, overwrite: bool
) -> Iterator[ItemResult]:
    """Inpaint the items one after the other; each is on disk when its result comes.

    A picture or mask that is unusable, or numbers that come out wrong, fail that item only (with `fail_fast` they are
    raised); every other error, such as a full disk, ends the work.

    Raises:
        UsageError: output_exists, before any work.
    """
    for item in items:
        _make_folder(item.output.parent)
        check_target(item.output, overwrite=overwrite or options.skip_existing)
    return (_inpaint(inpainter, item, options) for item in items)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystemRefusal("not_writable", f"cannot be made ({error.strerror})", file=folder) from None


def check_results(results: list[ItemResult]) -> None:
    """Raise `BatchError` if an item failed; it counts and names them."""
    failed = [result for result in results if result.error]
    if failed:
        names = ", ".join(f"{shown(o.item.image.name)} ({o.error.slug})" for o in failed if o.error)
        raise BatchError("items_failed", f"{len(failed)} of {len(results)} pairs failed: {names}")


def _inpaint(inpainter: Inpainter, item: Item, options: FolderOptions) -> ItemResult:
    if options.skip_existing and _opens(item.output, options.job.limits):
        return ItemResult(item, "skipped")
    started = time.perf_counter()
    try:
        (filled,) = fill(inpainter, Job(item.image, item.mask, options=options.job))
        write(filled, item.output, quality=options.quality)
    except (PictureError, NumbersError) as error:
        if options.fail_fast:
            raise
        return ItemResult(item, "failed", time.perf_counter() - started, error=error)
    return ItemResult(item, "done", time.perf_counter() - started, filled.hole)


def _opens(path: Path, limits: Limits) -> bool:
    try:
        load_picture(path, limits)
        return True
    except PictureError:
        return False


def _normal(name: str) -> str:
    """As names are compared: composed, as some systems and archives do not store them."""
    return unicodedata.normalize("NFC", name)


def _pictures_beside_masks(files: list[Path]) -> list[Path]:
    """Of a folder that holds both: the files that are not called `STEM_mask*` after another one."""
    names = {_normal(str(file.with_suffix(""))) for file in files}

    def is_mask(file: Path) -> bool:
        name = _normal(str(file.with_suffix("")))
        folder = len(name) - len(_normal(file.stem))
        return any(name[: place.start()] in names for place in re.finditer("_mask", name) if place.start() > folder)

    return [file for file in files if not is_mask(file)]


def _match(
    pictures: list[Path], images: Path, candidates: list[Path], masks: Path
) -> tuple[dict[Path, list[Path]], list[Path]]:
    """The masks of each picture, and the masks that belong to none."""
    by_place: dict[str, list[Path]] = defaultdict(list)
    for mask in candidates:
        by_place[_place(mask, masks)].append(mask)
    exact = {(_place(picture, images), _normal(picture.stem)) for picture in pictures}
    masks_of, used = {}, set()
    for picture in pictures:
        place, stem = _place(picture, images), _normal(picture.stem)
        near = [(mask, _normal(mask.stem)) for mask in by_place[place]]
        loose = [mask for mask, name in near if name.startswith(f"{stem}_mask") and (place, name) not in exact]
        masks_of[picture] = [mask for mask, name in near if name == stem] or loose
        used.update(masks_of[picture])
    return masks_of, [mask for mask in candidates if mask not in used]


def _place(file: Path, folder: Path) -> str:
    return _normal(str(file.relative_to(folder).parent))


def _refuse_unpaired(pairs: int, pictures: list[Path], masks: list[Path]) -> None:
    """Name the first of the `pictures` without a mask, or else of the `masks` without a picture."""
    if pictures or masks:
        what = "picture without a mask" if pictures else "mask without a picture"
        counts = f"{pairs} pairs, {len(pictures)} pictures without a mask, {len(masks)} masks without a picture"
        message = f"{what} ({counts}); a mask is called STEM.png or STEM_mask*.png"
        raise UsageError("unpaired", message, file=(pictures or masks)[0])


def _result(picture: Path, images: Path, output: Path, stem: str | None = None) -> Path:
    return output / picture.relative_to(images).parent / f"{stem or picture.stem}.png"


def _without_clash(items: list[Item]) -> list[Item]:
    seen: dict[str, Item] = {}
    for item in items:
        other = seen.setdefault(_normal(str(item.output)), item)
        if other is not item:
            message = f"{shown(other.image.name)} would write the same result, {shown(item.output.name)}; rename one"
            raise UsageError("output_clash", message, file=item.image)
    return items
