"""Caches that native code parses (kernels, timings): used only if they are whole, and made again if they are not."""

from __future__ import annotations

from pathlib import Path

from cmgan.errors import SystemRefusal, shown, warn
from cmgan.files import sha256, write_atomically

_HEAD = b"cmgan cache 1 %s\n"


def read_cache(path: Path) -> bytes:
    """What `write_cache` stored there; nothing if there is no such file, or a damaged one, of which it warns."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        warn("cache", f"{shown(path)} cannot be read ({error.strerror}); it is made again")
        return b""
    start, _, body = data.partition(b"\n")
    if start + b"\n" != _head(body):
        warn("cache", f"{shown(path)} is no whole cache of cmgan's ({len(data)} bytes); it is made again")
        return b""
    return body


def write_cache(path: Path, body: bytes) -> None:
    """Store it for `read_cache`, whole or not at all. Where that is impossible, warn: a cache only saves time."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, _head(body) + body)
    except (OSError, SystemRefusal) as error:
        warn("cache", f"{shown(path)} cannot be written ({error}); the next start takes as long as this one")


def _head(body: bytes) -> bytes:
    return _HEAD % sha256(body).encode()
