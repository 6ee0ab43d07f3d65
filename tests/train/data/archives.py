"""Archives that tests make: from a mapping of names to bytes."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

from tests.hostile.generate import encoded, photo


def jpegs(count: int, size: tuple[int, int] = (96, 72), folder: str = "a") -> dict[str, bytes]:
    """`count` different JPEG files, named as Places365 names its own, in two folders."""
    places = (f"{folder}/{place}" for place in ("airfield", "zen_garden"))
    return {
        f"{place}/{number:08}.jpg": encoded(photo(*size, seed), "JPEG")
        for seed, (place, number) in enumerate((p, n) for p in places for n in range(1, count // 2 + 1))
    }


def folder_of(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def zip_of(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tar_of(path: Path, files: dict[str, bytes], *extra: tarfile.TarInfo, mode: str = "w") -> Path:
    """A tar of the files, then of entries without data such as links."""
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
        for header in extra:
            archive.addfile(header)
    return path


def shards_of(path: Path, files: dict[str, bytes], count: int) -> Path:
    """The files dealt to `count` tars in the folder `path`."""
    path.mkdir()
    names = sorted(files)
    for number in range(count):
        tar_of(path / f"shard-{number}.tar", {name: files[name] for name in names[number::count]})
    return path
