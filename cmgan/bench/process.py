"""One engine alone in a fresh process: the parent's end, and `python -m cmgan.bench.process FD`, the child's.

The child serves requests that come through the inherited socket FD, so that what a row costs (start, memory, threads)
is its own, and a row that crashes takes no other with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

import cmgan
from cmgan.bench.rows import KINDS, Setting
from cmgan.errors import CmganError, logger
from cmgan.runtime.engine import Engine, EngineInfo


class RowFailure(Exception):
    """A row cannot be measured (further); the message says why."""


class Worker:
    """A child process; each method of `cmgan.bench.process.Subject` can be asked of it."""

    def __init__(self, setting: Setting) -> None:
        self._log = tempfile.TemporaryFile()
        self._scratch = tempfile.TemporaryDirectory(prefix="cmgan-bench-")
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cmgan.bench.process", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=_environment(setting.threads, self._scratch.name),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
            )

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the child's subject.

        Raises:
            RowFailure: it raised something, or the process died.
        """
        try:
            self._connection.send((method, arguments))
            value, problem = self._connection.recv()
        except (EOFError, OSError):
            code = self._process.wait()
            self._log.seek(0)
            logger.debug("the process of a row ended with %s:\n%s", code, self._log.read().decode(errors="replace"))
            how = f"by signal {-code} (out of memory?)" if code < 0 else f"with exit code {code}"
            raise RowFailure(f"its process ended {how}") from None
        if problem:
            raise RowFailure(problem)
        return value

    def close(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()
        self._log.close()
        self._scratch.cleanup()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def child_environment() -> dict[str, str]:
    """That of this process, so that a child finds the same cmgan wherever it was started."""
    paths = [str(Path(cmgan.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _environment(threads: int, scratch: str) -> dict[str, str]:
    """A child keeps to its threads, compiles without what earlier runs left, and leaves nothing, killed as it is."""
    own = {"TMPDIR": scratch, "TORCHINDUCTOR_CACHE_DIR": str(Path(scratch) / "compiled")}
    return child_environment() | own | {"OMP_NUM_THREADS": str(threads)}


_PRODUCT = 2048  # side of the square matrices whose product tells the machine's rate


class Subject:
    """The engine under measurement. Its public methods are the requests that are served."""

    _engine: Engine

    def open(self, name: str, setting: Setting) -> tuple[EngineInfo, float]:
        """Make the engine of row kind `name`; what it is, and the seconds that took, imports included."""
        start = time.perf_counter()
        self._engine = KINDS[name].open(setting)
        return self._engine.info, time.perf_counter() - start

    def paint(self, image: np.ndarray, mask: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, float]:
        """One call of the engine: the pictures, and the seconds it took."""
        start = time.perf_counter()
        output = self._engine(image, mask, z)
        return output, time.perf_counter() - start

    def block(self, arrays: tuple[np.ndarray, ...], calls: int, seconds: float) -> list[float]:
        """The seconds of each of at least `calls` calls in a row, going on for at least `seconds`."""
        times: list[float] = []
        while len(times) < calls or sum(times) < seconds:
            times.append(self.paint(*arrays)[1])
        return times

    def fill(self, picture: Path, mask: Path, target: Path) -> tuple[float, float]:
        """Inpaint a picture file as `cmgan inpaint` does: the seconds in all, and those inside the engine."""
        from cmgan.inpaint.inpainter import Inpainter
        from cmgan.inpaint.job import Job, fill, write

        start = time.perf_counter()
        for filled in fill(Inpainter(self._engine), Job(picture, mask)):
            write(filled, target)
        return time.perf_counter() - start, filled.seconds["engine"]

    def peak_memory(self) -> int:
        """The most bytes that this process had resident.

        From /proc: getrusage begins with the peak of the process that started this one.
        """
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])

    def rate(self, dtype: str, device: str) -> float:
        """Operations a second of a product of 2048 square matrices in PyTorch, the best of five."""
        import torch

        a = torch.randn(_PRODUCT, _PRODUCT, device=device).to(getattr(torch, dtype))
        times = []
        for _ in range(6):  # the first warms up
            start = time.perf_counter()
            (a @ a)[0, 0].item()  # brings the answer to the host, so that a GPU has finished
            times.append(time.perf_counter() - start)
        return 2 * _PRODUCT**3 / min(times[1:])


def answered(method: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, str]:
    """What the method gives back, and why it does not."""
    try:
        return method(*arguments), ""
    except CmganError as error:
        return None, error.message
    except ImportError as error:
        return None, f"{error.name} is not installed: pip install {error.name}" if error.name else str(error)
    except Exception as error:  # noqa: BLE001 - whatever an engine raises is the reason why its row has no figures
        lines = str(error).splitlines() or [""]
        return None, f"{type(error).__name__}: {lines[0]}"


def main() -> None:
    connection = Connection(int(sys.argv[1]))
    subject = Subject()
    while True:
        try:
            method, arguments = connection.recv()
        except EOFError:
            return
        connection.send(answered(getattr(subject, method), arguments))


if __name__ == "__main__":
    main()
