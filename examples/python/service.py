"""A service of your own around the public API: asyncio, one model, pictures in and out as bytes.

    python examples/python/service.py photo.jpg mask.png result.png

The server that comes with cmgan (`cmgan serve`) has limits, deadlines and a queue besides; this is a core to build on.
"""

from __future__ import annotations

import asyncio
import io
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cmgan.inpaint.inpainter import Inpainter
from cmgan.inpaint.job import Job, JobOptions, fill, write
from cmgan.runtime.open import open_engine


class Service:
    """One model for all requests; threads may share it."""

    def __init__(self, model: str, workers: int = 2) -> None:
        self._inpainter = Inpainter(open_engine(model))
        self._pool = ThreadPoolExecutor(workers)  # decoding and encoding of one picture beside the filling of another

    async def inpaint(self, image: bytes, mask: bytes, seed: int = 0) -> bytes:
        """The picture with its hole filled, as PNG; the event loop stays free meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._work, image, mask, seed)

    def _work(self, image: bytes, mask: bytes, seed: int) -> bytes:
        result = io.BytesIO()
        for filled in fill(self._inpainter, Job(image, mask, options=JobOptions(seed=seed))):
            write(filled, result)
        return result.getvalue()


async def main(image: Path, mask: Path, result: Path) -> None:
    service = Service("photos-256")
    requests = [service.inpaint(image.read_bytes(), mask.read_bytes(), seed) for seed in range(3)]
    pictures = await asyncio.gather(*requests)
    result.write_bytes(pictures[0])
    print(f"{len(pictures)} pictures of {image.name}, the first is {result}")


if __name__ == "__main__":
    asyncio.run(main(*map(Path, sys.argv[1:4])))
