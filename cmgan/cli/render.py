"""What the user sees: results on stdout, progress, warnings and errors on stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmgan.errors import clipped
from cmgan.files import write_atomically

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress

MOST_WARNINGS = 5  # a run; then a count


class Terminal(logging.Handler):
    """The one place that prints. As a logging handler it renders what the library has to say."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._quiet = False
        self._results = sys.stdout
        self._warnings = 0
        self._bar: Progress | None = None
        self.configure(verbose=False, quiet=False)

    def configure(self, *, verbose: bool, quiet: bool) -> None:
        """Set what is shown, and start counting warnings anew."""
        self._quiet, self._warnings, self._results = quiet, 0, sys.stdout
        logger = logging.getLogger("cmgan")
        logger.handlers = [self]
        logger.propagate = False
        logger.setLevel(logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        slug = getattr(record, "slug", None)
        kind = f"{record.levelname.lower()}[{slug}]" if slug else record.levelname.lower()
        if record.levelno >= logging.WARNING:
            self._warnings += 1
            if self._warnings > MOST_WARNINGS:
                return
        self.error(clipped(f"cmgan: {kind}: {record.getMessage()}"))

    def error(self, line: str) -> None:
        """One line on stderr."""
        console = self._bar.console if self._bar else None
        if console:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def finish(self) -> None:
        """Say how many warnings were left out."""
        if self._warnings > MOST_WARNINGS:
            more = self._warnings - MOST_WARNINGS
            self._warnings = 0
            self.error(f"cmgan: {more} more warnings")

    def results_to_stderr(self) -> None:
        """Standard output carries a picture or JSON: say the rest elsewhere."""
        self._results = sys.stderr

    def say(self, text: str = "") -> None:
        """A line of the result."""
        if not self._quiet:
            print(text, file=self._results)

    def show(self, renderable: RenderableType) -> None:
        """A rich table or the like; wide enough for itself where the output is no terminal."""
        from rich.console import Console

        if not self._quiet:
            width = None if self._results.isatty() else 200
            Console(file=self._results, width=width, markup=False, highlight=False).print(renderable)

    @contextlib.contextmanager
    def progress(self, what: str, total: int | None = None, *, lines: bool = False) -> Iterator[Callable[..., None]]:
        """A bar on a terminal. Elsewhere nothing (with -v a line a step) or, with `lines`, a line for each new step.

        The block gets `step(what, advance=1)`.
        """
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        logger = logging.getLogger("cmgan.progress")
        columns = [TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()]
        columns += [MofNCompleteColumn()] if total else []
        with Progress(*columns, console=console, transient=True, disable=self._quiet or not console.is_terminal) as bar:
            task = bar.add_task(what, total=total)
            self._bar = bar if not bar.disable else None
            lines = lines and bar.disable and not self._quiet
            started, said = time.monotonic(), ""

            def step(what: str, advance: int = 1) -> None:
                nonlocal said
                bar.update(task, description=what, advance=advance)
                if lines and what != said:
                    self.error(clipped(f"cmgan: {time.monotonic() - started:.0f} s: {what}"))
                elif not lines:
                    logger.info("%s", what)
                said = what

            try:
                yield step
            finally:
                self._bar = None


def write_json(target: str | None, document: dict[str, Any]) -> None:
    """Write the machine-readable result, `-` being standard output; with the schema it has."""
    if target is None:
        return
    text = json.dumps({"schema": 1, **document}, indent=2, default=str) + "\n"
    if target == "-":
        sys.stdout.write(text)
    else:
        write_atomically(Path(target), text.encode())


terminal = Terminal()
