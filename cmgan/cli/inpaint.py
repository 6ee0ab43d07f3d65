"""`cmgan inpaint`: one picture, a pipe, or a folder."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmgan.cli.options import Device, Json, Model, Overwrite, Resolution, Threads, check_resolution, model_or_default
from cmgan.cli.render import terminal, write_json
from cmgan.errors import UsageError, warn

if TYPE_CHECKING:
    import numpy as np

    from cmgan.imaging.limits import Limits
    from cmgan.imaging.mask import MaskOptions
    from cmgan.imaging.picture import Picture
    from cmgan.inpaint.inpainter import Inpainter, LazyEngine
    from cmgan.runtime.engine import Engine, EngineOptions

_Flag = typer.Option  # shorter below


def register(app: typer.Typer) -> None:
    app.command(epilog=_EXAMPLES)(inpaint)


_EXAMPLES = """Examples:

cmgan inpaint photo.jpg mask.png

cmgan inpaint photo.jpg --box 40,60,128,96 --dilate 4 --feather 8 -o out.png

cmgan inpaint cutout.png --mask alpha --samples 3 --seed 7

cmgan inpaint photos/ masks/ -o results/ --recursive --skip-existing

cat photo.jpg | cmgan inpaint - mask.png -o - > out.png"""


def inpaint(
    image: Annotated[str, typer.Argument(help="A picture, - for standard input, or a folder.")],
    mask: Annotated[str | None, typer.Argument(help="White is the hole. A file, or a folder of masks.")] = None,
    output: Annotated[str | None, _Flag("--output", "-o", help="File, folder, or - for standard output.")] = None,
    model: Model = None,
    res: Resolution = None,
    mask_from: Annotated[str | None, _Flag("--mask", help="alpha: the picture's own transparency.")] = None,
    box: Annotated[list[str] | None, _Flag("--box", help="x,y,w,h: a hole in pixels; repeatable.")] = None,
    invert_mask: Annotated[bool, _Flag("--invert-mask", help="Black is the hole.")] = False,
    mask_threshold: Annotated[int, _Flag("--mask-threshold", help="Hole = value of at least this.")] = 128,
    mask_channel: Annotated[str, _Flag("--mask-channel", help="auto, luma, alpha or red.")] = "auto",
    resize_mask: Annotated[bool, _Flag("--resize-mask", help="Scale the mask to the picture (nearest).")] = False,
    allow_full_mask: Annotated[bool, _Flag("--allow-full-mask", help="Accept a mask without known pixels.")] = False,
    hd: Annotated[str, _Flag("--hd", help="crop, resize, original or tile.")] = "crop",
    crop_margin: Annotated[int, _Flag("--crop-margin", help="Pixels around a hole that are looked at.")] = 128,
    overlap: Annotated[int, _Flag("--overlap", help="Pixels that tiles share.")] = 64,
    dilate: Annotated[int, _Flag("--dilate", help="Grow the hole by so many pixels.")] = 0,
    feather: Annotated[int, _Flag("--feather", help="Blend over the first pixels inside the hole.")] = 0,
    batch: Annotated[int, _Flag("--batch", help="Windows in one call of the engine.")] = 4,
    seed: Annotated[int, _Flag("--seed", help="0 to 2**63 - 1; the same seed gives the same bytes.")] = 0,
    samples: Annotated[int, _Flag("--samples", min=1, max=100, help="So many pictures, of consecutive seeds.")] = 1,
    concat: Annotated[bool, _Flag("--concat", help="Write before and after side by side.")] = False,
    quality: Annotated[int, _Flag("--quality", help="Of JPEG and WebP, 1 to 100.")] = 95,
    keep_metadata: Annotated[bool, _Flag("--keep-metadata", help="Keep EXIF (place!) and text.")] = False,
    recursive: Annotated[bool, _Flag("--recursive", help="Folders: sub-folders, too.")] = False,
    skip_existing: Annotated[bool, _Flag("--skip-existing", help="Folders: leave finished results.")] = False,
    shard: Annotated[str, _Flag("--shard", help="Folders: i/n, the i-th of n shares.")] = "1/1",
    fail_fast: Annotated[bool, _Flag("--fail-fast", help="Folders: stop at the first failure.")] = False,
    max_pixels: Annotated[int | None, _Flag("--max-pixels", help="Limit of a picture.")] = None,
    max_side: Annotated[int | None, _Flag("--max-side", help="Limit of its longer side.")] = None,
    max_aspect: Annotated[int | None, _Flag("--max-aspect", help="Limit of its sides' ratio.")] = None,
    max_file_bytes: Annotated[int | None, _Flag("--max-file-bytes", help="Limit of its file.")] = None,
    formats: Annotated[str | None, _Flag("--formats", help="Also accept these: bmp, tiff, avif.")] = None,
    allow_foreign_model: Annotated[
        bool, _Flag("--allow-foreign-model", help="Run an ONNX file not of cmgan's.")
    ] = False,
    device: Device = "cpu",
    threads: Threads = 0,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Fill the hole of a photograph; pixels outside it stay bit-identical."""
    given = {"max_pixels": max_pixels, "max_side": max_side, "max_aspect": max_aspect}
    request = Request(
        image=image,
        mask=mask,
        output=output,
        boxes=tuple(box or ()),
        alpha=_alpha(mask_from),
        limits=_limits(given | {"max_file_bytes": max_file_bytes}, formats),
        masking=_masking(mask_threshold, mask_channel, invert_mask, resize_mask, allow_full_mask),
        seed=seed,
        samples=samples,
        concat=concat,
        quality=quality,
        keep_metadata=keep_metadata,
        overwrite=overwrite,
    )
    from cmgan.inpaint.inpainter import Inpainter, InpaintOptions
    from cmgan.runtime.engine import EngineOptions

    running = EngineOptions(device=device, threads=threads, allow_foreign=allow_foreign_model)
    engine = _engine(model_or_default(model, res), res, running)
    inpainter = Inpainter(engine, InpaintOptions(hd, crop_margin, overlap, dilate, feather, batch))
    if Path(image).is_dir():
        folder = FolderRequest(recursive=recursive, skip_existing=skip_existing, shard=shard, fail_fast=fail_fast)
        document = _folder(inpainter, request, folder)
    else:
        document = _single(inpainter, request)
    write_json(json, document)


@dataclass(frozen=True)
class Request:
    """What was asked for, checked as far as it can be before any work."""

    image: str
    mask: str | None
    output: str | None
    boxes: tuple[str, ...]
    alpha: bool
    limits: Limits
    masking: MaskOptions
    seed: int
    samples: int
    concat: bool
    quality: int
    keep_metadata: bool
    overwrite: bool

    def __post_init__(self) -> None:
        from cmgan.inpaint.inpainter import check_seed

        if (self.mask is not None) + bool(self.boxes) + self.alpha != 1:
            message = "one mask is needed: a file, --box x,y,w,h (repeatable) or --mask alpha"
            raise UsageError("mask_missing" if not (self.mask or self.boxes or self.alpha) else "mask_twice", message)
        check_seed(self.seed)
        check_seed(self.seed + self.samples - 1)
        if not 1 <= self.quality <= 100:
            raise UsageError("quality", f"quality {self.quality}; 1 to 100 is possible")
        same = self.mask is not None and self.mask != "-" and Path(self.mask).exists() and Path(self.image).exists()
        if same and not Path(self.image).is_dir() and Path(self.image).samefile(str(self.mask)):
            raise UsageError("same_file", "picture and mask are the same file; --mask alpha?", file=self.image)

    def targets(self) -> list[Path | None]:
        """Where the results go; None is standard output."""
        from cmgan.imaging.save import output_format

        name = self.output
        if name is None:
            name = "-" if self.image == "-" else str(Path(self.image).with_suffix("")) + ".inpainted.png"
        if name == "-":
            if self.samples > 1:
                raise UsageError("samples", "standard output takes one picture; give -o FILE for several samples")
            return [None]
        path = Path(name)
        output_format(path)
        if self.samples == 1:
            return [path]
        return [path.with_stem(f"{path.stem}-{i + 1}") for i in range(self.samples)]


@dataclass(frozen=True)
class FolderRequest:
    """What concerns folders only."""

    recursive: bool
    skip_existing: bool
    shard: str
    fail_fast: bool


def _single(inpainter: Inpainter, request: Request) -> dict[str, Any]:
    from cmgan.files import check_target
    from cmgan.imaging.picture import load_picture

    targets = request.targets()
    for target in targets:
        if target is None:
            terminal.results_to_stderr()
        else:
            check_target(target, overwrite=request.overwrite)
    started = time.perf_counter()
    picture = load_picture(request.image, request.limits, keep_metadata=request.keep_metadata)
    hole = _hole(request, picture)
    with terminal.progress("inpainting", len(targets)) as step:
        for number, target in enumerate(targets):
            after = inpainter.fill(picture, hole, request.seed + number)
            if number + 1 == len(targets) and not request.concat:
                picture = after  # a large picture need not stay twice in memory while it is written
            _save(request, picture, after, target)
            step("inpainting")
    _warn_if_untrained(inpainter.engine)
    seconds = time.perf_counter() - started
    share = float(hole.mean())
    size = "x".join(map(str, picture.size))
    for target in targets:
        where = "standard output" if target is None else target
        terminal.say(f"{where}: {size}, {share:.1%} of it hole, {seconds:.2f} s")
    written = [None if target is None else str(target) for target in targets]
    return {"outputs": written, "hole": share, "seconds": seconds, "seed": request.seed}


def _save(request: Request, before: Picture, after: Picture, target: Path | None) -> None:
    from dataclasses import replace

    import numpy as np

    from cmgan.imaging.save import save_picture

    if request.concat:
        alphas = [p.alpha for p in (before, after) if p.alpha is not None]
        alpha = np.concatenate(alphas, 1) if alphas else None
        after = replace(after, rgb=np.concatenate([before.rgb, after.rgb], 1), alpha=alpha)
    save_picture(sys.stdout.buffer if target is None else target, after, quality=request.quality)


def _hole(request: Request, picture: Picture) -> np.ndarray:
    from cmgan.imaging.mask import alpha_mask, box_mask, check_hole, load_mask, parse_box

    if request.alpha:
        return alpha_mask(picture, request.masking, request.image)
    if request.boxes:
        hole = box_mask([parse_box(text) for text in request.boxes], picture)
        check_hole(hole, request.masking, request.image)
        return hole
    assert request.mask is not None
    return load_mask(request.mask, picture, request.limits, request.masking)


def _folder(inpainter: Inpainter, request: Request, folder: FolderRequest) -> dict[str, Any]:
    from cmgan.inpaint.folder import FolderOptions, check_outcomes, inpaint_items, pair, parse_shard, shard

    if request.mask is None or request.output is None or request.samples > 1 or request.concat:
        message = "a folder takes a mask (a file or a folder) and -o FOLDER, and neither --samples nor --concat"
        raise UsageError("folder", message, file=request.image)
    share = parse_shard(folder.shard)
    items = pair(
        Path(request.image),
        Path(request.mask),
        Path(request.output),
        recursive=folder.recursive,
        formats=request.limits.formats,
    )
    items = shard(items, share)
    working = FolderOptions(
        limits=request.limits,
        mask=request.masking,
        seed=request.seed,
        quality=request.quality,
        keep_metadata=request.keep_metadata,
        skip_existing=folder.skip_existing,
        fail_fast=folder.fail_fast,
    )
    outcomes = []
    with terminal.progress("inpainting", len(items)) as step:
        for outcome in inpaint_items(inpainter, items, working, overwrite=request.overwrite):
            outcomes.append(outcome)
            step(outcome.item.image.name)
    _warn_if_untrained(inpainter.engine)
    counts = {kind: sum(o.status == kind for o in outcomes) for kind in ("done", "skipped", "failed")}
    terminal.say(f"{request.output}: {counts['done']} done, {counts['skipped']} skipped, {counts['failed']} failed")
    check_outcomes(outcomes)
    return {"output": request.output, **counts, "seed": request.seed}


def _engine(model: str, res: int | None, options: EngineOptions) -> LazyEngine:
    """The engine, opened when a hole is there to be filled."""
    from cmgan.inpaint.inpainter import LazyEngine
    from cmgan.runtime.open import open_engine

    def opener() -> Engine:
        engine = open_engine(model, options)
        check_resolution(res, engine.info.resolution)
        return engine

    return LazyEngine(opener)


def _warn_if_untrained(engine: Any) -> None:
    if engine.opened and not engine.info.trained:
        warn("untrained", f"the model {engine.info.name} has seeded, untrained weights: it paints nothing sensible")


def _alpha(mask_from: str | None) -> bool:
    if mask_from not in (None, "alpha"):
        raise UsageError("mask", f"--mask {mask_from!r}: only 'alpha' is known; a mask file goes after the picture")
    return mask_from == "alpha"


def _limits(given: dict[str, int | None], formats: str | None) -> Limits:
    from cmgan.imaging.limits import DEFAULT_FORMATS, Limits

    more = tuple(name.strip() for name in formats.split(",")) if formats else ()
    return Limits.from_environment(os.environ, **given, formats=DEFAULT_FORMATS + more if more else None)


def _masking(threshold: int, channel: str, invert: bool, resize: bool, allow_full: bool) -> MaskOptions:
    from cmgan.imaging.mask import MaskOptions

    return MaskOptions(threshold, channel, invert, resize, allow_full)
