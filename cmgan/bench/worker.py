"""The parent's end of a child process that holds one engine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import cmgan
from cmgan.bench.rows import Setting
from cmgan.errors import logger


class RowFailure(Exception):
    """A row cannot be measured (further); the message says why."""


class Worker:
    """A child process; each method of `cmgan.bench.child.Subject` can be asked of it."""

    def __init__(self, setting: Setting) -> None:
        self._log = tempfile.TemporaryFile()
        self._scratch = tempfile.TemporaryDirectory(prefix="cmgan-bench-")
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cmgan.bench.child", str(theirs.fileno())],
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
