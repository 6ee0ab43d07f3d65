"""Files that are written whole or not at all, and read once."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from cmgan.errors import CmganError, ModelError, SystemRefusal, UsageError

# What is found where a model should be, by its first bytes: slug, pattern, what to say. A pickle's two bytes also begin
# a safetensors file whose header is 640, 896, 1152 or 1408 bytes long; six zeros and a brace follow there.
_WRONG_KINDS = (
    ("empty_file", rb"\Z", "is empty (0 bytes); get the file again"),
    ("web_page", rb"\s*<(!doctype|html|head)", "is a web page, not a model; download the file itself"),
    ("lfs_pointer", rb"version https://git-lfs", "is a Git LFS pointer, not the file it stands for; run: git lfs pull"),
    (
        "pickle",
        rb"PK\x03\x04|\x80[\x02-\x05](?!\0{6}\{)",
        "is a PyTorch checkpoint or another pickle, which can run code when it is opened; "
        "convert a .pt state dictionary first: cmgan convert FILE -o FOLDER",
    ),
)
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.cmgan-tmp-(?P<pid>\d+)-[a-z0-9_]+")


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256 of the bytes that are used, never of a path that may change under us."""
    return hashlib.sha256(data).hexdigest()


def read_model_file(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit` bytes, read once; refusals are `ModelError`s."""
    with _regular_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise ModelError("file_too_large", f"{size} bytes; the limit is {limit}", file=path)
        return file.read()


def read_start(path: Path) -> bytes:
    """The first bytes of a regular file, enough for `refuse_wrong_kind`; refusals are `ModelError`s."""
    with _regular_file(path) as file:
        return file.read(1024)


@contextmanager
def _regular_file(path: Path) -> Iterator[BinaryIO]:
    try:
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ModelError("not_a_file", "not a regular file", file=path)
            yield file
    except FileNotFoundError:
        raise ModelError("not_found", "no such file", file=path) from None
    except OSError as error:
        raise ModelError("unreadable", f"cannot be read ({error.strerror})", file=path) from None


def refuse_wrong_kind(data: bytes, path: Path) -> None:
    """Refuse the usual mistakes in their own words, as `ModelError`: nothing, a web page, a pointer, a pickle."""
    for slug, start, message in _WRONG_KINDS:
        if re.match(start, data[:1024], re.IGNORECASE):
            raise ModelError(slug, message, file=path)


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a target that cannot be written, before any work is done for it. A link is written through."""
    target = _written_through(path)
    folder = target.parent
    if not folder.is_dir():
        raise UsageError("output_folder", f"the folder {folder} does not exist; make it first", file=path)
    if target.exists() and not overwrite:
        raise UsageError("output_exists", "exists already; --overwrite replaces it", file=path)
    if not os.access(folder, os.W_OK):
        raise SystemRefusal("not_writable", f"the folder {folder} is not writable", file=path)


def _written_through(path: Path) -> Path:
    """The place that writing to `path` writes to: where it is a link, the file that it names, there already or not.

    Raises:
        UsageError: output_link, a link in a circle; output_kind, a device, a pipe or a socket.
    """
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    if target.is_symlink():
        raise UsageError("output_link", "is a link that leads back to itself; remove it", file=path)
    if target.exists() and not (target.is_file() or target.is_dir()):
        raise UsageError("output_kind", "is a device, a pipe or a socket; a file is needed", file=path)
    return target


def cache_folder() -> Path:
    """Where what can be made again is kept: `CMGAN_CACHE_DIR`, or `cmgan` in `XDG_CACHE_HOME` (else `~/.cache`)."""
    if given := os.environ.get("CMGAN_CACHE_DIR"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "cmgan")


@contextmanager
def atomic_path(path: Path, *, most: int = 0o666) -> Iterator[Path]:
    """A temporary name beside `path`, for one file; renamed to `path` when the block ends well, gone when it does not.

    The file is flushed to disk before the rename and the folder after it, so that after a crash there stands either the
    old file or the whole new one. A link is written through. The new file has the permissions of the one that it
    replaces; where there is none, those that the umask leaves of `most`; until then only its owner can read it.

    Raises:
        UsageError: output_link, output_kind.
        SystemRefusal: disk_full, not_writable and the like.
    """
    target = _written_through(path)
    _remove_left_over(target)
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.cmgan-tmp-{os.getpid()}-", dir=target.parent)
        temporary = Path(name)
        os.close(handle)
        yield temporary
        _replace(temporary, target, most)
        _sync(target.parent)
    except OSError as error:
        raise _refusal(error, path) from error
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)


def _replace(temporary: Path, target: Path, most: int) -> None:
    """Flush a file or folder and give it the name `target`, with the permissions of a file that is there already."""
    _sync(temporary)
    if target.exists():
        old = target.stat()
        with suppress(PermissionError):  # only root may give a file away
            os.chown(temporary, old.st_uid, old.st_gid)
        temporary.chmod(old.st_mode & 0o777)
    else:
        temporary.chmod(most & ~_umask())
    if target.is_dir():  # which cannot be renamed over
        old_folder = temporary.with_name(temporary.name + "old")
        os.rename(target, old_folder)
        os.rename(temporary, target)
        shutil.rmtree(old_folder, ignore_errors=True)
    else:
        os.replace(temporary, target)


@contextmanager
def atomic_folder(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Like `atomic_path` for a folder: built under a temporary name, then swapped in by renaming."""
    check_target(path, overwrite=overwrite)
    target = _written_through(path)
    _remove_left_over(target)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name[:100]}.cmgan-tmp-{os.getpid()}-", dir=target.parent))
    try:
        yield temporary
        for file in temporary.rglob("*"):
            _sync(file)
        _replace(temporary, target, 0o777)
        _sync(target.parent)
    except OSError as error:
        raise _refusal(error, path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def atomic_files(folder: Path) -> Iterator[Path]:
    """A temporary folder inside `folder`, for files that belong together; when the block ends well they are renamed
    into `folder`, oldest first, so that the one that names the others should be written last."""
    target = folder / "files"
    _remove_left_over(target)
    temporary: Path | None = None
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.cmgan-tmp-{os.getpid()}-", dir=folder))
        yield temporary
        files = sorted(temporary.iterdir(), key=lambda file: file.stat().st_mtime_ns)
        for file in files:
            _sync(file)
        for file in files:
            _move(file, folder / file.name)
        _sync(folder)
    except OSError as error:
        raise _refusal(error, folder) from error
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)


def _move(file: Path, target: Path) -> None:
    if not target.is_symlink():
        return _replace(file, target, 0o666)
    with atomic_path(target) as copy:  # the file that the link names may lie on another disk
        shutil.copyfile(file, copy)


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_with(path: Path, writer: Callable[[Path], object], *, most: int = 0o666) -> None:
    """Let a library write to a temporary name, then rename it to `path`; `most` as for `atomic_path`."""
    with atomic_path(path, most=most) as temporary:
        writer(temporary)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


def _refusal(error: OSError, path: Path) -> CmganError:
    reasons = {
        errno.ENOSPC: ("disk_full", "the disk is full; free some space"),
        errno.EDQUOT: ("disk_full", "the disk quota is used up; free some space"),
        errno.EFBIG: ("file_limit", "larger than this process may write (ulimit -f)"),
        errno.EMFILE: ("too_many_files", "no file descriptor is left (ulimit -n)"),
    }
    slug, message = reasons.get(error.errno or 0, ("not_writable", f"cannot be written ({error.strerror})"))
    return SystemRefusal(slug, message, file=path)


def _remove_left_over(path: Path) -> None:
    """Remove temporaries of processes that died while writing this target."""
    for entry in path.parent.glob(".*.cmgan-tmp-*"):
        match = _TEMPORARY.match(entry.name)
        if match and match["name"] == path.name[:100] and not Path("/proc", match["pid"]).exists():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink(missing_ok=True)
