"""One judge for every command line: exit code, one line, nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cmgan.cli.main import run

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True)
class Ending:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def slug(self) -> str:
        """The kind of the refusal."""
        return self.err.split("error[", 1)[1].split("]", 1)[0]


@pytest.fixture
def call(capfd) -> Callable[..., Ending]:
    """Run the command line in this process."""

    def called(*arguments: object) -> Ending:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Ending(code, out, err)

    return called


@pytest.fixture
def refused(call, tmp_path) -> Callable[..., Ending]:
    """Run a command that must be refused: with that code, in one ASCII line, without a trace on disk."""

    def called(code: int, *arguments: object) -> Ending:
        before = _tree(tmp_path)
        ending = call(*arguments)
        assert ending.code == code, ending
        lines = [line for line in ending.err.splitlines() if "warning[" not in line]
        assert len(lines) == 1, ending.err
        assert lines[0].startswith("cmgan: error["), ending.err
        assert len(lines[0]) <= 300 and lines[0].isascii()
        for word in ("Traceback", "weights_only", "Error(", "errno"):
            assert word not in lines[0]
        assert _tree(tmp_path) == before, "a refusal leaves the disk as it was"
        return ending

    return called


def _tree(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


@pytest.fixture
def photo(tmp_path) -> Path:
    """A small photograph."""
    path = tmp_path / "photo.png"
    with Image.open(EXAMPLES / "photo.jpg") as image:
        image.resize((96, 80)).save(path)
    return path


@pytest.fixture
def mask(tmp_path) -> Path:
    """A mask for it: a box of 20 x 16 pixels."""
    values = np.zeros((80, 96), np.uint8)
    values[30:46, 40:60] = 255
    path = tmp_path / "mask.png"
    Image.fromarray(values).save(path)
    return path
