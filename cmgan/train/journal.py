"""What a run shows of itself: `journal.jsonl`, `losses.png`, sheets of pictures, TensorBoard's files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cmgan.errors import needs
from cmgan.files import write_atomically, write_with

Line = dict[str, Any]  # `step`, then numbers by name
_NOT_LOSSES = ("step", "skipped", "seconds", "pictures_per_second")


class Journal:
    """The numbers of a run, a JSON object a line, up to `step`; what stands there of later steps is cut off."""

    def __init__(self, folder: Path, step: int, *, tensorboard: bool) -> None:
        self._folder = folder
        self._file = folder / "journal.jsonl"
        self.lines = [line for line in _read(self._file) if line["step"] <= step]
        write_atomically(self._file, "".join(_text(line) for line in self.lines).encode())
        self._board: Any = None
        if tensorboard:
            with needs("run.tensorboard", "cmgan[train]"):
                from torch.utils.tensorboard import SummaryWriter
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, line: Line) -> None:
        """Add a line."""
        self.lines.append(line)
        with self._file.open("a") as file:
            file.write(_text(line))
        if self._board is not None:
            for name, value in line.items():
                if name != "step":
                    self._board.add_scalar(name, value, line["step"])

    def show(self, step: int, sheet: np.ndarray) -> None:
        """Keep the pictures of `step`, uint8 (H, W, 3)."""
        folder = self._folder / "grids"
        folder.mkdir(exist_ok=True)
        image = Image.fromarray(sheet)
        write_with(folder / f"step-{step:08}.png", lambda path: image.save(path, "PNG"))
        if self._board is not None:
            self._board.add_image("pictures", sheet, step, dataformats="HWC")

    def plot(self) -> None:
        """Draw every term over the steps into `losses.png`."""
        write_with(self._folder / "losses.png", lambda path: plot(path, self.lines))

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def _read(file: Path) -> list[Line]:
    """The whole lines of a journal; a kill may have left half of one."""
    lines = []
    for text in file.read_text().splitlines() if file.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def _text(line: Line) -> str:
    return json.dumps(line) + "\n"


def plot(path: Path, lines: list[Line]) -> None:
    """One small diagram a term, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = sorted({name for line in lines for name in line} - set(_NOT_LOSSES))
    columns = 3
    rows = -(-len(names) // columns) or 1
    figure = Figure(figsize=(4 * columns, 2.4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for number, name in enumerate(names, 1):
        points = [(line["step"], line[name]) for line in lines if name in line]
        axes = figure.add_subplot(rows, columns, number)
        axes.plot(*zip(*points, strict=True), linewidth=1)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
    figure.savefig(path, format="png", dpi=110)


def sheet(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Pictures uint8 (R, R, 3) in rows and columns, with a white line between them: uint8 (H, W, 3)."""
    gap = 2
    side = rows[0][0].shape[0] + gap
    paper = np.full((side * len(rows) + gap, side * len(rows[0]) + gap, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            paper[gap + y * side : (y + 1) * side, gap + x * side : (x + 1) * side] = picture
    return paper
