"""What stands around the engine: large picture files, memory, the start of the command line, samples for training."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from cmgan.bench.plan import Progress
from cmgan.bench.process import RowFailure, Worker, child_environment
from cmgan.bench.report import Figure
from cmgan.bench.rows import Setting
from cmgan.errors import MissingError

_LARGE = (6000, 4000)  # pixels: 24 megapixels
_SMALL = (512, 512)


def measure_pictures(artefact: Path, threads: int, progress: Progress = lambda step: None) -> list[Figure]:
    """The figures around the engine of an exported file; every picture in a fresh process, cold.

    Raises:
        MissingError: the engine cannot run here.
    """
    with tempfile.TemporaryDirectory(prefix="cmgan-bench-") as name:
        work = Path(name)
        setting = Setting(work, artefact, "", threads, "cpu")
        seconds, peaks = {}, {}
        for label, size, suffix in (("JPEG", _LARGE, ".jpg"), ("PNG", _LARGE, ".png"), ("small", _SMALL, ".png")):
            progress(f"inpainting a picture of {size[0]} x {size[1]} pixels to {suffix}")
            picture, mask = _files(work, size)
            seconds[label], peaks[label] = _filled(setting, picture, mask, work / f"out{suffix}")
        progress("starting the command line")
        return [
            Figure("24-megapixel JPEG to JPEG, beside the engine", seconds["JPEG"], "s", 1.0),
            Figure("24-megapixel JPEG to PNG, beside the engine", seconds["PNG"], "s", 4.0),
            Figure("peak memory, 512 x 512 pixels", peaks["small"], "MB", 600.0),
            Figure("peak memory, 24 megapixels, more than that", peaks["JPEG"] - peaks["small"], "MB", 300.0),
            Figure("import cmgan", _started("import cmgan") - _started(""), "s", 0.15),
            Figure("cmgan --help", _started("from cmgan.cli import main; main()", "--help"), "s", 0.5),
        ]


def _filled(setting: Setting, picture: Path, mask: Path, target: Path) -> tuple[float, float]:
    """Seconds beside the engine's own, and the peak memory in MB."""
    with Worker(setting) as worker:
        try:
            worker.ask("open", "onnx", setting)
            whole, engine = worker.ask("fill", picture, mask, target)
            return whole - engine, worker.ask("peak_memory") / 1e6
        except RowFailure as failure:
            raise MissingError("bench_pictures", f"the engine cannot run: {failure}") from None


def _files(work: Path, size: tuple[int, int]) -> tuple[Path, Path]:
    """A JPEG, and a mask with one small hole."""
    width, height = size
    mask = np.zeros((height, width), np.uint8)
    mask[height // 2 : height // 2 + 200, width // 2 : width // 2 + 200] = 255
    picture, hole = work / f"{width}.jpg", work / f"{width}-mask.png"
    write_photograph(picture, size)
    Image.fromarray(mask).save(hole)
    return picture, hole


def write_photograph(path: Path, size: tuple[int, int]) -> None:
    """A JPEG of (width, height) pixels with smooth colours and the grain of a photograph."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / 512
    grain = np.random.default_rng(0).normal(0, 4, (height, width)).astype(np.float32)
    levels = 128 + 90 * np.stack([np.sin(x + y), np.cos(x - y), np.sin(y)], 2) + grain[..., None]
    Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(path, "JPEG", quality=92)


def _started(code: str, *arguments: str) -> float:
    """Seconds that a Python process takes for `code`; the best of three."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        command = [sys.executable, "-c", code, *arguments]
        subprocess.run(command, env=child_environment(), capture_output=True, check=True)
        times.append(time.perf_counter() - start)
    return min(times)


_SECONDS = 5.0  # of each figure
_PHOTOGRAPH = (1024, 683)  # pixels of the JPEG files in the tar, three by two
_PHOTOGRAPHS = 16


def measure_training(progress: Progress = lambda step: None, seconds: float = _SECONDS) -> list[Figure]:
    """Object-aware masks of 512 x 512 a second; samples of 256 x 256 with masks, read from JPEG files in a tar."""
    from cmgan.masks import training_mask
    from cmgan.masks.rng import sample_rng
    from cmgan.train.data.pictures import open_pictures
    from cmgan.train.data.samples import TrainingSet

    progress("drawing masks")
    masks = _rate(lambda index: training_mask(sample_rng(0, 0, index, "mask"), 512), seconds)
    with tempfile.TemporaryDirectory(prefix="cmgan-bench-") as name:
        samples = TrainingSet(open_pictures(_tar(Path(name))), 256, seed=0)
        progress("reading samples")
        rate = _rate(lambda index: samples.item(*divmod(index, len(samples))), seconds)
    width, height = _PHOTOGRAPH
    return [
        Figure("object-aware masks of 512 x 512", masks, "/s", 300.0),
        Figure(f"samples of 256 x 256 from JPEG files of {width} x {height} in a tar", rate, "/s", 100.0),
    ]


def _rate(work: Callable[[int], object], seconds: float) -> float:
    """Calls a second of processor time; `work` takes their number."""
    work(0)
    began = time.process_time()
    for done in itertools.count(1):
        work(done)
        if (passed := time.process_time() - began) >= seconds:
            return done / passed
    raise AssertionError("counting has no end")


def _tar(folder: Path) -> Path:
    photograph, tar = folder / "photograph.jpg", folder / "photographs.tar"
    write_photograph(photograph, _PHOTOGRAPH)
    with tarfile.open(tar, "w") as archive:
        for number in range(_PHOTOGRAPHS):
            archive.add(photograph, f"{number}.jpg")
    return tar
