"""What feeds a training run: masks and samples, on one core."""

from __future__ import annotations

import itertools
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cmgan.bench.figures import Figure
from cmgan.bench.pictures import write_photograph
from cmgan.bench.prepare import Progress

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
