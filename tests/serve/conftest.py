"""Real servers in processes of their own, on free ports of loopback."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).parents[2]


class Server:
    """A running server; `stop` gives its exit code, `errors` what it wrote to stderr."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
        self._errors = folder / f"stderr-{os.urandom(4).hex()}"
        with open(self._errors, "wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=REPOSITORY,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY), **(environment or {})},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://\S+/", line)
        assert found, f"no address in {line!r}; stderr: {self.errors()}"
        self.url = found[0].rstrip("/")
        self.host, _, port = self.url.removeprefix("http://").rpartition(":")
        self.port = int(port)

    def errors(self) -> str:
        return self._errors.read_text(errors="replace")

    def stop(self, number: int = signal.SIGTERM, timeout: float = 20) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False, **options)

    def metric(self, name: str) -> float:
        """The value of a sample without labels."""
        text = httpx.get(f"{self.url}/metrics", trust_env=False).text
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        assert found, f"no {name} in the metrics"
        return float(found[1])


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`cmgan serve --model null`, shared: tests leave it as it was."""
    running = Server(["cli.py", "serve", "--model", "null", "--port", "0"], tmp_path_factory.mktemp("server"))
    yield running
    assert running.stop() == 0
    assert running.errors() == ""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start a server with an engine for tests: `start("slow", 0.2, queue=1)`."""
    servers = []

    def started(kind: str = "slow", seconds: float = 0.0, **options: Any) -> Server:
        command = ["-m", "tests.serve.program", kind, str(seconds), json.dumps(options)]
        servers.append(Server(command, tmp_path))
        return servers[-1]

    yield started
    for running in servers:
        running.stop(signal.SIGKILL)


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start `cmgan serve` with these arguments."""
    servers = []

    def started(*arguments: object, **environment: str) -> Server:
        line = ["cli.py", "serve", "--port", "0", *map(str, arguments)]
        servers.append(Server(line, tmp_path, environment))
        return servers[-1]

    yield started
    for running in servers:
        running.stop(signal.SIGKILL)


def encoded(array: np.ndarray, format: str = "PNG") -> bytes:
    """An array as a picture file."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, format)
    return file.getvalue()


def decoded(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def picture(side: int = 64, seed: int = 0) -> np.ndarray:
    """uint8 (side, side, 3), noise."""
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def box_mask(side: int = 64) -> np.ndarray:
    """uint8 (side, side): a hole in the middle quarter."""
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : side // 2, side // 4 : side // 2] = 255
    return mask


@pytest.fixture(scope="session")
def files() -> dict[str, bytes]:
    """A small picture and its mask, as fields of a form."""
    return {"image": encoded(picture()), "mask": encoded(box_mask())}
