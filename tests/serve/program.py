"""A server with an engine made for a test.

    python -m tests.serve.program KIND SECONDS OPTIONS

KIND: `slow` sleeps SECONDS in every call; `late` is opened only after SECONDS; `leaky` keeps 50 KiB a call; `memory`
runs out of it. All refuse a picture of one colour with an exception of their own. OPTIONS: JSON for `ServeOptions`.
"""

from __future__ import annotations

import json
import os
import sys
import time

import numpy as np

from cmgan.cli.render import terminal
from cmgan.runtime.engine import Engine, EngineInfo
from cmgan.serve.run import listen, serve, url_of
from cmgan.serve.settings import ServeOptions

_kept: list[bytes] = []


class TestEngine:
    """64 x 64; fills holes with white."""

    def __init__(self, kind: str, seconds: float) -> None:
        self._kind, self._seconds = kind, seconds
        self.info = EngineInfo("test", "test", 64, 4, "fp32", True, "")

    def __call__(self, image: np.ndarray, mask: np.ndarray, z: np.ndarray) -> np.ndarray:
        if self._kind == "slow":
            time.sleep(self._seconds)
        elif self._kind == "leaky":
            _kept.append(bytes(bytearray(51_200)))
        elif self._kind == "memory" and len(_kept) > 0:
            raise MemoryError
        _kept.append(b"")
        if image.any() and image.min() == image.max():
            raise RuntimeError("secret detail of /some/path.py")
        return np.where((mask >= 128)[..., None], np.uint8(255), image)

    def close(self) -> None:
        pass


def main(kind: str, seconds: str, options: str) -> int:
    """Serve until a signal comes."""
    terminal.configure(verbose=False, quiet=False)
    settings = ServeOptions(**{"port": 0, **json.loads(options)})
    listener = listen(settings)
    if kind == "late":
        print(url_of(listener), flush=True)

    def opener() -> Engine:
        if kind == "late":
            time.sleep(float(seconds))
        return TestEngine(kind, float(seconds))

    return serve(listener, opener, settings, lambda engine: print(url_of(listener), flush=True))


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # as the command does
