"""`cmgan inpaint`: one picture, a pipe, or a folder."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cmgan.cli.options import Device, Json, Kernels, Model, Overwrite, Precision, Resolution, Signature, Threads
from cmgan.cli.render import terminal, write_json
from cmgan.config import check_resolution, chosen_model
from cmgan.errors import CmganError, UsageError, warn

if TYPE_CHECKING:
    from cmgan.imaging.limits import Limits
    from cmgan.inpaint.inpainter import Inpainter, LazyEngine
    from cmgan.inpaint.job import Filled, Job, JobOptions
    from cmgan.runtime.engine import Engine, EngineOptions

_HOLE, _FILL, _OUT, _FOLDER, _LIMIT, _ENGINE = (
    *("Picture and mask", "How it is filled", "Output", "Folders", "Limits", "Engine"),
)


def _option(panel: str, name: str, about: str, **more: Any) -> Any:
    return typer.Option(name, help=about, rich_help_panel=panel, **more)


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
    model: Model = None,
    res: Resolution = None,
    mask_from: Annotated[
        Literal["alpha"] | None, _option(_HOLE, "--mask", "alpha: the hole is where the picture is transparent.")
    ] = None,
    box: Annotated[list[str] | None, _option(_HOLE, "--box", "x,y,w,h: a hole in pixels; repeatable.")] = None,
    invert_mask: Annotated[bool, _option(_HOLE, "--invert-mask", "Black is the hole.")] = False,
    mask_threshold: Annotated[int, _option(_HOLE, "--mask-threshold", "A pixel of at least this value is hole.")] = 128,
    mask_channel: Annotated[
        Literal["auto", "luma", "alpha", "red"], _option(_HOLE, "--mask-channel", "Where the mask file has its shape.")
    ] = "auto",
    resize_mask: Annotated[
        bool, _option(_HOLE, "--resize-mask", "Scale the mask to the picture's size (nearest neighbour).")
    ] = False,
    allow_full_mask: Annotated[
        bool, _option(_HOLE, "--allow-full-mask", "Accept a mask that leaves no known pixel.")
    ] = False,
    strategy: Annotated[
        Literal["crop", "resize", "original", "tile"],
        _option(_FILL, "--hd", "How a picture of another size than the model's is filled."),
    ] = "crop",
    crop_margin: Annotated[
        int, _option(_FILL, "--crop-margin", "crop: pixels around a hole that the model sees.")
    ] = 128,
    overlap: Annotated[
        int | None,
        _option(_FILL, "--overlap", "tile: pixels that neighbours share.", show_default="64, at most half of R"),
    ] = None,
    dilate: Annotated[int, _option(_FILL, "--dilate", "Grow the hole by this many pixels.")] = 0,
    feather: Annotated[int, _option(_FILL, "--feather", "Blend over this many pixels inside the hole.")] = 0,
    seed: Annotated[int, _option(_FILL, "--seed", "0 to 2**63 - 1; the same seed gives the same bytes.")] = 0,
    samples: Annotated[
        int, _option(_FILL, "--samples", "How many pictures to make, of consecutive seeds.", min=1, max=100)
    ] = 1,
    output: Annotated[
        str | None,
        typer.Option(
            *("--output", "-o"),
            rich_help_panel=_OUT,
            help="File, folder, or - for standard output.",
            show_default="photo.inpainted.png",
        ),
    ] = None,
    concat: Annotated[bool, _option(_OUT, "--concat", "Write before and after side by side.")] = False,
    quality: Annotated[int, _option(_OUT, "--quality", "JPEG and WebP: 1 to 100.")] = 95,
    keep_metadata: Annotated[
        bool, _option(_OUT, "--keep-metadata", "Keep EXIF (the place, too!) and text of the picture.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = None,
    recursive: Annotated[bool, _option(_FOLDER, "--recursive", "Sub-folders, too.")] = False,
    skip_existing: Annotated[
        bool, _option(_FOLDER, "--skip-existing", "Leave pictures out whose result is there and opens.")
    ] = False,
    shard: Annotated[str, _option(_FOLDER, "--shard", "i/n: only the i-th of n shares, for array jobs.")] = "1/1",
    fail_fast: Annotated[bool, _option(_FOLDER, "--fail-fast", "Stop at the first failure.")] = False,
    max_pixels: Annotated[
        int | None, _option(_LIMIT, "--max-pixels", "Width times height of a picture.", show_default="67108864")
    ] = None,
    max_side: Annotated[
        int | None, _option(_LIMIT, "--max-side", "Pixels of its longer side.", show_default="16384")
    ] = None,
    max_aspect: Annotated[
        int | None, _option(_LIMIT, "--max-aspect", "Longer side by shorter side.", show_default="32")
    ] = None,
    max_file_bytes: Annotated[
        int | None, _option(_LIMIT, "--max-file-bytes", "Bytes of its file.", show_default="134217728")
    ] = None,
    formats: Annotated[str | None, _option(_LIMIT, "--formats", "Read these formats, too: bmp, tiff, avif.")] = None,
    batch: Annotated[int, _option(_ENGINE, "--batch", "Windows of a picture in one call of the engine.")] = 4,
    signature: Signature = "",
    device: Device = "cpu",
    precision: Precision = "",
    kernels: Kernels = "auto",
    threads: Threads = 0,
) -> None:
    """Fill the hole of a photograph; pixels outside it stay bit-identical."""
    from cmgan.imaging.mask import MaskOptions
    from cmgan.inpaint.inpainter import Inpainter, InpaintOptions
    from cmgan.inpaint.job import JobOptions
    from cmgan.runtime.engine import EngineOptions

    given = {"max_pixels": max_pixels, "max_side": max_side, "max_aspect": max_aspect, "max_file_bytes": max_file_bytes}
    options = JobOptions(
        limits=_limits(given, formats),
        mask=MaskOptions(mask_threshold, mask_channel, invert_mask, resize_mask, allow_full_mask),
        keep_metadata=keep_metadata,
        seed=seed,
        samples=samples,
        concat=concat,
    )
    running = EngineOptions(device, threads, precision, kernels, signature=signature, resolution=res or 0)
    engine = _engine(chosen_model(model, res), res, running)
    target = Target(output, quality, overwrite, json)
    with Inpainter(engine, InpaintOptions(strategy, crop_margin, overlap, dilate, feather, batch)) as inpainter:
        if Path(image).is_dir():
            if mask is None or output is None or samples > 1 or concat or box or mask_from:
                message = "a folder takes a mask (a file or a folder) and -o FOLDER, and neither --samples nor --concat"
                raise UsageError("folder", message, file=image)
            pairs = Folders(Path(image), Path(mask), Path(output), recursive, shard)
            _folder(inpainter, pairs, options, target, skip_existing=skip_existing, fail_fast=fail_fast)
        else:
            _single(inpainter, _job(image, mask, box, mask_from == "alpha", options), target)


@dataclass(frozen=True)
class Target:
    """Where results go and how they are written; `UsageError` for a value out of range."""

    output: str | None
    quality: int
    overwrite: bool
    json: str | None

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise UsageError("quality", f"quality {self.quality}; 1 to 100 is possible")

    def files(self, image: str, samples: int) -> list[Path | None]:
        """One for each sample of `image`; None is standard output."""
        from cmgan.imaging.save import output_format

        own = f"{Path(image).stem}.inpainted.png"
        name = self.output or ("-" if image == "-" else str(Path(image).with_name(own)))
        if name == "-":
            if samples > 1:
                raise UsageError("samples", "standard output takes one picture; give -o FILE for several samples")
            return [None]
        path = Path(name)
        if path.is_dir() or name.endswith("/"):
            path /= "stdin.inpainted.png" if image == "-" else own
        output_format(path)
        return [path] if samples == 1 else [path.with_stem(f"{path.stem}-{i + 1}") for i in range(samples)]


@dataclass(frozen=True)
class Folders:
    """The folders of pictures, of masks (or one mask) and of results, and the share of them to work on."""

    images: Path
    masks: Path
    output: Path
    recursive: bool
    shard: str


def _single(inpainter: Inpainter, job: Job, target: Target) -> None:
    from cmgan.files import check_target
    from cmgan.inpaint.job import fill, write

    files = target.files(str(job.image), job.options.samples)
    for file in files:
        if file is None:
            terminal.results_to_stderr()
        else:
            check_target(file, overwrite=target.overwrite)
    done: list[dict[str, Any]] = []
    started = time.perf_counter()
    with terminal.progress("inpainting", len(files)) as step:
        for filled in fill(inpainter, job):
            file = files[len(done)]
            seconds = write(filled, sys.stdout.buffer if file is None else file, quality=target.quality)
            facts = filled.facts()
            facts["seconds"]["write"] = round(seconds, 4)
            done.append({"output": None if file is None else str(file), **facts})
            step("inpainting")
            _say(file, filled, sum(facts["seconds"].values()))
    _warn_if_untrained(inpainter.engine)
    write_json(
        target.json,
        {
            "outputs": [entry["output"] for entry in done],
            "hole": done[0]["hole"],
            "seed": job.options.seed,
            "seconds": time.perf_counter() - started,
            "results": done,
        },
    )


def _say(file: Path | None, filled: Filled, seconds: float) -> None:
    width, height = filled.picture.size
    where = "standard output" if file is None else file
    terminal.say(f"{where}: {width}x{height}, {filled.hole:.1%} of it hole, {seconds:.2f} s")


def _folder(
    inpainter: Inpainter, folders: Folders, job: JobOptions, target: Target, *, skip_existing: bool, fail_fast: bool
) -> None:
    from cmgan.inpaint.folder import FolderOptions, ItemResult, check_results, inpaint_items, pair, parse_shard, shard

    share = parse_shard(folders.shard)
    formats = job.limits.formats
    items = pair(folders.images, folders.masks, folders.output, recursive=folders.recursive, formats=formats)
    items = shard(items, share)
    working = FolderOptions(job, target.quality, skip_existing, fail_fast)
    work = inpaint_items(inpainter, items, working, overwrite=target.overwrite)
    results: list[ItemResult] = []
    try:
        with terminal.progress("inpainting", len(items)) as step:
            for result in work:
                results.append(result)
                step(result.item.image.name)
    except KeyboardInterrupt:
        terminal.error(f"cmgan: {len(results)} of {len(items)} pairs are finished; --skip-existing does the rest")
        raise
    except CmganError as error:
        results.append(ItemResult(items[len(results)], "failed", error=error))
        raise
    finally:  # whatever ended the work: what has become of each pair
        results += [ItemResult(item, "waiting") for item in items[len(results) :]]
        counts = {kind: sum(r.status == kind for r in results) for kind in ("done", "skipped", "failed", "waiting")}
        facts = [result.facts() for result in results]
        write_json(target.json, {"output": str(folders.output), **counts, "seed": job.seed, "results": facts})
    _warn_if_untrained(inpainter.engine)
    terminal.say(f"{folders.output}: {counts['done']} done, {counts['skipped']} skipped, {counts['failed']} failed")
    check_results(results)


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


def _job(image: str, mask: str | None, box: list[str] | None, alpha: bool, options: JobOptions) -> Job:
    from cmgan.imaging.mask import parse_box
    from cmgan.inpaint.job import Job

    return Job(image, mask, tuple(parse_box(text) for text in box or ()), alpha, options)


def _limits(given: dict[str, int | None], formats: str | None) -> Limits:
    from cmgan.imaging.limits import DEFAULT_FORMATS, Limits

    more = tuple(name.strip() for name in formats.split(",")) if formats else ()
    return Limits.from_environment(os.environ, **given, formats=DEFAULT_FORMATS + more if more else None)
