"""The bytes of a user's file, read once: what happens to the file afterwards cannot hurt."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO

from cmgan.errors import PictureError, SystemRefusal

Source = str | os.PathLike[str] | bytes | BinaryIO


def source_name(source: Source) -> str | None:
    """What a refusal calls the source; None for bytes that have no name."""
    if isinstance(source, (str, os.PathLike)):
        return "stdin" if os.fspath(source) == "-" else os.fspath(source)
    return None


def source_permissions(source: Source) -> int:
    """What others may do with the file of a source, and at least reading and writing for its owner: 0o600 to 0o666."""
    name = source_name(source)
    if name is None or name == "stdin":
        return 0o666
    return os.stat(name).st_mode & 0o666 | 0o600


def read_source(source: Source, max_bytes: int) -> bytes:
    """The bytes of a path, of standard input (`-`), of a binary stream, or the bytes given.

    Raises:
        PictureError: not_found, not_a_file (FIFOs, devices, sockets and folders are refused without being opened),
            unreadable, empty, file_too_large.
    """
    name = source_name(source)
    if isinstance(source, bytes):
        data = source
    elif isinstance(source, (str, os.PathLike)):
        data = sys.stdin.buffer.read(max_bytes + 1) if name == "stdin" else _read_file(Path(source), max_bytes)
    else:
        data = source.read(max_bytes + 1)
    if not data:
        raise PictureError("empty", "there is nothing in it (0 bytes)", file=name)
    if len(data) > max_bytes:
        raise _too_large(f"more than {max_bytes}" if len(data) == max_bytes + 1 else str(len(data)), max_bytes, name)
    return data


def _read_file(path: Path, max_bytes: int) -> bytes:
    try:
        _check_regular(os.stat(path), path, max_bytes)
        # O_NONBLOCK: were a FIFO put here since the check, opening it must not wait for a writer.
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as file:
            _check_regular(os.fstat(file.fileno()), path, max_bytes)
            return file.read(max_bytes + 1)
    except FileNotFoundError:
        raise PictureError("not_found", "no such file; check the path", file=path) from None
    except MemoryError:
        raise SystemRefusal("out_of_memory", "not enough memory to read it", file=path) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PictureError("unreadable", f"cannot be read ({reason})", file=path) from None


def _check_regular(status: os.stat_result, path: Path, max_bytes: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise PictureError("not_a_file", f"is {kind}; a regular file or - for stdin is needed", file=path)
    if status.st_size > max_bytes:
        raise _too_large(str(status.st_size), max_bytes, str(path))


def _too_large(seen: str, limit: int, name: str | None) -> PictureError:
    message = f"{seen} bytes; the limit is {limit} (--max-file-bytes)"
    return PictureError("file_too_large", message, file=name)
