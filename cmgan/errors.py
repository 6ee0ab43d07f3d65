"""What cmgan says when it refuses: one exception class per exit code, one line per refusal.

| exit | class | meaning |
| --- | --- | --- |
| 1 | (any other exception) | a bug in cmgan |
| 2 | `UsageError` | wrong usage, before any work |
| 3 | `PictureError` | a picture or mask is unusable or over a limit |
| 4 | `ModelError` | a model, checkpoint, export or engine is unusable, changed or not trusted |
| 5 | `MissingError` | something needed is missing here: package, device, driver, version |
| 6 | `SystemRefusal` | the system refused: disk full, out of memory, not writable |
| 7 | `NumbersError` | the numbers are wrong: non-finite output, parity failed |
| 8 | `BatchError` | a folder was finished, some items failed |
| 9 | `DeadlineError` | a deadline passed |
| 10 | `BudgetError` | a budget that was asked for was missed |
"""

from __future__ import annotations

import logging
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

logger = logging.getLogger("cmgan")


class CmganError(Exception):
    """A refusal. `slug` names its kind for programs, `file` the input it is about, the message the rest.

    The message states what is wrong with the value seen and the limit, then what to do.
    """

    exit_code = 1

    def __init__(self, slug: str, message: str, *, file: str | os.PathLike[str] | None = None) -> None:
        super().__init__(message)
        self.slug = slug
        self.message = message
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickling: an error of a worker process is raised in its parent."""
        return partial(type(self), file=self.file), (self.slug, self.message)

    def __str__(self) -> str:
        return self.message if self.file is None else f"{shown(self.file)}: {self.message}"

    def line(self) -> str:
        """The one line for stderr, ASCII, at most 300 characters."""
        return clipped(f"cmgan: error[{self.slug}]: {self}")


class UsageError(CmganError):
    exit_code = 2


class PictureError(CmganError):
    exit_code = 3


class ModelError(CmganError):
    exit_code = 4


class MissingError(CmganError):
    exit_code = 5


class SystemRefusal(CmganError):
    exit_code = 6


class NumbersError(CmganError):
    exit_code = 7


class BatchError(CmganError):
    exit_code = 8


class DeadlineError(CmganError):
    exit_code = 9


class BudgetError(CmganError):
    exit_code = 10


_collected: ContextVar[list[str] | None] = ContextVar("collected warnings", default=None)


def warn(slug: str, message: str) -> None:
    """Log a warning of a known kind; the command line renders it as `cmgan: warning[slug]: message`."""
    logger.warning("%s", message, extra={"slug": slug})
    collected = _collected.get()
    if collected is not None:
        collected.append(f"{slug}: {message}")


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """The warnings of the block, as `slug: message`, in a list that grows; they are logged as well."""
    warnings: list[str] = []
    token = _collected.set(warnings)
    try:
        yield warnings
    finally:
        _collected.reset(token)


@contextmanager
def needs(what: str, install: str) -> Iterator[None]:
    """Where an import in the block fails, say which package `what` needs, and how to install it.

    `install` is what pip takes: `cmgan[export]`. An import that fails inside cmgan itself is a bug, and stays one.

    Raises:
        MissingError: package_missing.
    """
    try:
        yield
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if package == "cmgan":
            raise
        state = "is not installed" if isinstance(error, ModuleNotFoundError) else f"does not load ({error})"
        message = f"{what} needs {package or 'a package'}, which {state}: pip install '{install}'"
        raise MissingError("package_missing", message) from error


@contextmanager
def about(file: str | os.PathLike[str]) -> Iterator[None]:
    """Refusals of the block are about `file`, where they name none."""
    try:
        yield
    except CmganError as error:
        error.file = file if error.file is None else error.file
        raise


def shown(name: object) -> str:
    """A file name that is safe to print: control, bidirectional and undecodable characters escaped, the middle of a
    long name left out."""
    text = os.fsdecode(name) if isinstance(name, (str, bytes, os.PathLike)) else str(name)
    text = "".join(c if c.isascii() and c.isprintable() else _escaped(c) for c in text)
    return text if len(text) <= 80 else f"{text[:38]}...{text[-38:]}"


def _escaped(character: str) -> str:
    if unicodedata.category(character).startswith("C") or not character.isascii():
        return character.encode("unicode_escape", "backslashreplace").decode("ascii")
    return character


def clipped(line: str, limit: int = 300) -> str:
    """`line` as one ASCII line of at most `limit` characters."""
    flat = " ".join(line.split()).encode("ascii", "backslashreplace").decode("ascii")
    return flat if len(flat) <= limit else flat[: limit - 3] + "..."
