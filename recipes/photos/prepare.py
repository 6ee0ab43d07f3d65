"""Build a training set of photographs from Debian packages: `python recipes/photos/prepare.py OUTPUT`.

Downloads the packages of `sources.toml` with apt (the machine's own sources; no root needed), takes the photographs
that are under CC0, in the public domain or under CC-BY according to each package's copyright file, cuts them at several
scales into square crops, and writes

    OUTPUT/shards/photos-000.tar ...  JPEG crops, shuffled, at most 24 MB a shard: each shard is a sample of the whole
    OUTPUT/held-out.tar               one photograph that no shard has, for evaluation
    OUTPUT/LICENCES.md                every photograph with package, author and licence; it is in each tar, too

The same packages and options give the same bytes. Needs Python 3.11, Pillow, apt-get and dpkg-deb.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import io
import random
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, ImageStat

FREE = re.compile(r"CC0(-1\.0)?|CC-BY-\d\.\d|public-domain|PD", re.IGNORECASE)  # the whole name: CC-BY-SA is none
SHARD_BYTES = 24_000_000
STEP = 1.5  # from one scale of a photograph to the next finer one; the last is its own size
SMALLEST = 288  # pixels of a photograph's shorter side
FLAT = 8.0  # levels: crops of a lower standard deviation are empty sky or a wall
NEAR = 4  # of 64 bits: photographs whose difference hashes are as near as that are the same


@dataclass(frozen=True)
class Paragraph:
    """One `Files` paragraph of a copyright file."""

    patterns: tuple[str, ...]
    author: str
    licence: str

    def matches(self, path: str) -> bool:
        return any(fnmatch.fnmatchcase(path, pattern) for pattern in self.patterns)  # `*` matches `/`, as DEP-5 wants


@dataclass(frozen=True)
class Photograph:
    """A picture file and what its package says about it."""

    path: Path
    package: str
    version: str
    name: str  # relative to the source's folder
    author: str
    licence: str


def main() -> None:
    options = parser().parse_args()
    table = tomllib.loads((Path(__file__).parent / "sources.toml").read_text())
    with tempfile.TemporaryDirectory() as work:
        sources = [source for source in table["source"] if options.all_licences or not source.get("all_licences")]
        packages = sorted({source["package"] for source in sources})
        folder = options.debs or download(packages, Path(work))
        found = [photo for source in sources for photo in photographs(source, unpack(source, folder, Path(work)))]
        free = [photo for photo in found if options.all_licences or FREE.fullmatch(photo.licence)]
        kept = without_doubles(free)
        held = [photo for photo in kept if is_held_out(photo, table["held_out"])]
        trained = [photo for photo in kept if photo not in held]
        write(options, trained, held)
    others = Counter(photo.licence for photo in found if photo not in free)
    print(f"left out for their licence: {dict(others) or 'none'}; doubled or too small: {len(free) - len(kept)}")


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    result.add_argument("output", type=Path, help="folder to make; it must not exist")
    result.add_argument("--side", type=int, default=384, help="pixels of a crop's side (384)")
    result.add_argument("--crops", type=int, default=12, help="of one photograph at one scale at most (12)")
    result.add_argument("--quality", type=int, default=92, help="of the JPEG files (92)")
    result.add_argument("--seed", type=int, default=0, help="of the choice and order of crops (0)")
    result.add_argument("--debs", type=Path, help="folder with the packages' .deb files, instead of downloading them")
    result.add_argument(
        "--all-licences", action="store_true", help="also share-alike and GPL; not for weights to share"
    )
    return result


def download(packages: list[str], work: Path) -> Path:
    """A folder with the packages' .deb files, from the sources that this machine's apt knows."""
    folder = work / "debs"
    folder.mkdir()
    own = [f"-oDir::State={work}/state", f"-oDir::Cache={work}/cache", "-oDir::State::status=/var/lib/dpkg/status"]
    for options, needed in (([], False), (own, True)):  # the lists of the system; where it has none, lists of our own
        if needed:
            for name in ("state/lists/partial", "cache/archives/partial"):
                (work / name).mkdir(parents=True)
            run(["apt-get", *options, "update"], folder)
        done = subprocess.run(["apt-get", *options, "download", *packages], cwd=folder, capture_output=True, text=True)
        if done.returncode == 0:
            return folder
    sys.exit(f"apt-get download failed:\n{done.stderr}")


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


def unpack(source: dict, folder: Path, work: Path) -> Path:
    """The folder that the source's package unpacks to; it is done once."""
    target = work / "unpacked" / source["package"]
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        debs = sorted(folder.glob(f"{source['package']}_*.deb"))
        if len(debs) != 1:
            sys.exit(f"{folder} has {len(debs)} files {source['package']}_*.deb; one is needed")
        run(["dpkg-deb", "-x", str(debs[0].resolve()), str(target)], folder)
        version = run(["dpkg-deb", "-f", str(debs[0].resolve()), "Version"], folder)
        (target / "version").write_text(version.strip())
    return target


def photographs(source: dict, unpacked: Path) -> Iterator[Photograph]:
    """The photographs of a source, each with the licence that the package states for it."""
    package, folder = source["package"], unpacked / source["folder"]
    paragraphs = read_copyright((unpacked / "usr/share/doc" / package / "copyright").read_text(errors="replace"))
    version = (unpacked / "version").read_text()
    for path in sorted(p for pattern in source["photos"] for p in folder.glob(pattern)):
        name = path.relative_to(folder).as_posix()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in source["leave_out"]):
            continue
        author, licence = stated(paragraphs, f"{source['origin']}/{name}".lstrip("/"), path)
        own = [own for pattern, own in source.get("licence", {}).items() if fnmatch.fnmatchcase(name, pattern)]
        yield Photograph(path, package, version, name, author, own[0] if own else licence)


def read_copyright(text: str) -> list[Paragraph]:
    """The `Files` paragraphs of a machine-readable copyright file (Debian's copyright-format 1.0); others have none."""
    if not re.match(r"Format(-Specification)?:\s*\S*(copyright-format|dep5?/|dep-5)", text.lstrip(), re.IGNORECASE):
        return []
    result = []
    for block in re.split(r"\n[ \t]*\n", text):
        fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t].*)*)", block, re.MULTILINE))
        if "Files" in fields and "License" in fields:
            author = "; ".join(line.strip() for line in fields.get("Copyright", "").splitlines() if line.strip())
            licence = fields["License"].strip().partition("\n")[0].strip()
            result.append(Paragraph(tuple(fields["Files"].split()), author, licence))
    return result


def stated(paragraphs: list[Paragraph], path: str, file: Path) -> tuple[str, str]:
    """Author and licence of the file that is `path` in the source package.

    The last paragraph that matches counts; a `.license` file beside the picture (REUSE) may name the author more
    exactly, and where it states another licence the file's is unclear.
    """
    matching = [paragraph for paragraph in paragraphs if paragraph.matches(path)]
    if not matching:
        return "", "not stated"
    author, licence = matching[-1].author, matching[-1].licence
    beside = file.with_name(f"{file.name}.license")
    if beside.exists():
        text = beside.read_text(errors="replace")
        author = "; ".join(re.findall(r"SPDX-FileCopyrightText:\s*(.+)", text)) or author
        if licence not in re.findall(r"SPDX-License-Identifier:\s*(\S+)", text):
            licence = "unclear"
    return author, licence


def without_doubles(photos: list[Photograph]) -> list[Photograph]:
    """The photographs that are large enough, each once: of two that look the same the one with more pixels."""
    kept: list[tuple[int, int, Photograph]] = []
    for photo in photos:
        with Image.open(photo.path) as image:
            size, grey = image.width * image.height, image.convert("L").resize((9, 8), Image.Resampling.BOX)
            if min(image.size) < SMALLEST:
                continue
        values = list(grey.tobytes())
        bits = sum((values[y * 9 + x] < values[y * 9 + x + 1]) << (y * 8 + x) for y in range(8) for x in range(8))
        same = [other for other in kept if (other[0] ^ bits).bit_count() <= NEAR]
        if all(size > other[1] for other in same):
            kept = [other for other in kept if other not in same] + [(bits, size, photo)]
    return [photo for _, _, photo in kept]


def is_held_out(photo: Photograph, held_out: dict) -> bool:
    return (photo.package, photo.name) == (held_out["package"], held_out["photo"])


def crops(photo: Photograph, options: argparse.Namespace) -> Iterator[tuple[str, bytes]]:
    """Name and JPEG of at most `options.crops` crops of every scale."""
    with Image.open(photo.path) as file:
        image = ImageOps.exif_transpose(file).convert("RGB")
    rng = random.Random(f"{options.seed} {photo.package} {photo.name}")
    stem = f"{photo.package}/{photo.name.rpartition('.')[0].replace('/', '-').replace(' ', '-')}"
    for shorter in scales(min(image.size), options.side):
        factor = shorter / min(image.size)
        scaled = image.resize([round(length * factor) for length in image.size], Image.Resampling.LANCZOS)
        places = [(x, y) for y in grid(scaled.height, options.side) for x in grid(scaled.width, options.side)]
        for x, y in sorted(rng.sample(places, min(len(places), options.crops))):
            crop = scaled.crop((x, y, x + options.side, y + options.side))
            if ImageStat.Stat(crop.convert("L")).stddev[0] >= FLAT:
                stream = io.BytesIO()
                crop.save(stream, "JPEG", quality=options.quality)
                yield f"{stem}-{shorter}-{x}-{y}.jpg", stream.getvalue()


def scales(shorter: int, side: int) -> list[int]:
    """Lengths to give a shorter side of `shorter` pixels: from `side` (enlarged, if need be) to its own."""
    lengths = [side]
    while lengths[-1] * STEP < shorter:
        lengths.append(round(lengths[-1] * STEP))
    return [*lengths, shorter] if shorter > lengths[-1] else lengths


def grid(length: int, side: int) -> list[int]:
    """Where crops of `side` begin so that they cover `length` evenly, two thirds of a side apart or less."""
    count = 1 + -(-3 * (length - side) // (2 * side))
    return [round(i * (length - side) / max(count - 1, 1)) for i in range(count)]


def write(options: argparse.Namespace, trained: list[Photograph], held: list[Photograph]) -> None:
    """The shards, the held-out photograph and the list of licences."""
    shards = options.output / "shards"
    shards.mkdir(parents=True)
    listed = licences(trained, held).encode()
    (options.output / "LICENCES.md").write_bytes(listed)
    if held:
        entries = [(photo.name, photo.path.read_bytes()) for photo in held]
        write_tar(options.output / "held-out.tar", [("LICENCES.md", listed), *entries])
    once = {hashlib.sha256(data).digest(): (name, data) for photo in trained for name, data in crops(photo, options)}
    files = sorted(once.values())
    random.Random(options.seed).shuffle(files)
    entries, size, number = [("LICENCES.md", listed)], 0, 0
    for name, data in files:
        padded = 512 + -(-len(data) // 512) * 512
        if size + padded > SHARD_BYTES - len(listed) - 20_480:  # the list, its header, the end of the archive
            write_tar(shards / f"photos-{number:03}.tar", entries)
            entries, size, number = [("LICENCES.md", listed)], 0, number + 1
        entries.append((name, data))
        size += padded
    write_tar(shards / f"photos-{number:03}.tar", entries)
    print(
        f"{len(trained)} photographs, {len(files)} crops, {sum(len(data) for _, data in files) / 1e6:.0f} MB, "
        f"{number + 1} shards; held out: {', '.join(photo.name for photo in held) or 'none'}"
    )


def write_tar(path: Path, entries: list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in entries:
            header = tarfile.TarInfo(name)  # no owner, no time: the same bytes every time
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))


def licences(trained: list[Photograph], held: list[Photograph]) -> str:
    """What each licence asks for: names, sources, and that the pictures were changed (cut and scaled)."""
    rows = [
        f"| {photo.package} {photo.version} | {photo.name} | {photo.author.replace('|', '/')} | {photo.licence} |"
        + (" held out |" if photo in held else " cut and scaled |")
        for photo in sorted(trained + held, key=lambda photo: (photo.package, photo.name))
    ]
    head = (
        "# Photographs\n\nFrom Debian packages; licence and author as their copyright files state them. The texts:\n"
        "https://creativecommons.org/licenses/ and https://creativecommons.org/publicdomain/.\n\n"
    )
    return head + "\n".join(["| package | file | author | licence | use |", "|---|---|---|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    main()
