"""Build a training set of photographs from Debian packages: `python recipes/photos/prepare.py OUTPUT`.

Downloads the packages of `sources.toml` with apt (from the mirror that this machine uses; no root needed), takes the
photographs that are under CC0, in the public domain or under CC-BY according to each package's own lists, divides them
photograph by photograph, and writes

    OUTPUT/shards/photos-000.tar ...  for training: JPEG crops, shuffled, at most 24 MB a shard, each a sample of all
    OUTPUT/validation.tar             crops of photographs that no shard has, to watch a training run with
    OUTPUT/held-out.tar               whole photographs that neither has, to judge with
    OUTPUT/test-only.tar              photographs of packages that never train, to judge with
    OUTPUT/card.tar                   the model card's eighth photograph
    OUTPUT/LICENCES.md                every photograph with package, author, licence, size and use; in each tar, too

Which of the first three a photograph goes to is decided by a digest of its package and name: more sources move none.
The same packages and options give the same bytes. Needs Python 3.11, Pillow, apt-get and dpkg-deb.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import io
import random
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, ImageStat

FREE = re.compile(r"CC0(-1\.0)?|CC-BY-\d\.\d|public-domain|PD", re.IGNORECASE)  # the whole name: CC-BY-SA is none
SHARD_BYTES = 24_000_000
STEP = 1.5  # from one scale of a photograph to the next finer one; the last is its own size
SMALLEST = 288  # pixels of a photograph's shorter side; `smallest` of a source lets smaller ones in, for training only
USES = ("training", "validation", "held-out", "test-only", "card")
SPLIT = {"held-out": 0.10, "validation": 0.06}  # shares of the photographs; the rest trains
READMES = 3  # folders above a picture that a README may lie in
VALIDATION_CROPS = 3  # of one photograph
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
    size: tuple[int, int]
    use: str  # training, validation, held-out, test-only or card


def main() -> None:
    options = parser().parse_args()
    table = tomllib.loads((Path(__file__).parent / "sources.toml").read_text())
    with tempfile.TemporaryDirectory() as work:
        sources = [source for source in table["source"] if options.all_licences or not source.get("all_licences")]
        folder = options.debs or download(sources, Path(work))
        found = [
            photo
            for source in sources
            for photo in photographs(source, unpack(source, folder, Path(work)), table["card"])
        ]
        free = [photo for photo in found if options.all_licences or FREE.fullmatch(photo.licence)]
        kept = without_doubles(free)
        write(options, kept)
    others = Counter(photo.licence for photo in found if photo not in free)
    print(f"left out for their licence: {dict(others) or 'none'}; doubled: {len(free) - len(kept)}")


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    result.add_argument("output", type=Path, help="folder to make; it must not exist")
    result.add_argument("--side", type=int, default=384, help="pixels of a crop's side (384)")
    result.add_argument("--crops", type=int, default=12, help="of one training photograph at most (12)")
    result.add_argument("--quality", type=int, default=92, help="of the JPEG files (92)")
    result.add_argument("--seed", type=int, default=0, help="of the choice and order of crops (0)")
    result.add_argument("--debs", type=Path, help="folder with the packages' .deb files, instead of downloading them")
    result.add_argument(
        "--all-licences", action="store_true", help="also share-alike and GPL; not for weights to share"
    )
    return result


def download(sources: list[dict], work: Path) -> Path:
    """A folder with the packages' .deb files, each of its suite, from the mirror of Debian that this machine uses."""
    folder = work / "debs"
    for name in ("debs", "state/lists/partial", "cache/archives/partial"):
        (work / name).mkdir(parents=True)
    for suite in sorted({source["suite"] for source in sources}):
        (work / "suite.list").write_text(f"deb {mirror()} {suite} main\n")
        options = [f"-oDir::State={work}/state", f"-oDir::Cache={work}/cache", "-oDir::Etc::sourceparts=-"]
        options += ["-oDir::State::status=/var/lib/dpkg/status", f"-oDir::Etc::sourcelist={work}/suite.list"]
        run(["apt-get", *options, "update"], folder)
        packages = sorted({source["package"] for source in sources if source["suite"] == suite})
        run(["apt-get", *options, "download", *packages], folder)
    return folder


def mirror() -> str:
    """Options and address of Debian's archive as this machine's apt knows them, for a line of a sources list."""
    settings = Path("/etc/apt")
    for path in [settings / "sources.list", *sorted((settings / "sources.list.d").glob("*"))]:
        text = path.read_text(errors="replace") if path.is_file() else ""
        found = re.search(r"^(?:deb\s.*?|URIs:.*?)(\S+/debian)/?(?:\s|$)", text, re.MULTILINE)
        if found:
            key = re.search(r"signed-by[:=]\s*(/[^\s\]]+)", text, re.IGNORECASE)
            return f"[signed-by={key[1]}] {found[1]}" if key else found[1]
    sys.exit("apt on this machine knows no mirror of Debian; download the packages of sources.toml and give --debs")


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


def unpack(source: dict, folder: Path, work: Path) -> Path:
    """The folder that the source's package unpacks to, its Qt resource files in `resources`; it is done once."""
    target = work / "unpacked" / source["package"]
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        debs = sorted(folder.glob(f"{source['package']}_*.deb"))
        if len(debs) != 1:
            sys.exit(f"{folder} has {len(debs)} files {source['package']}_*.deb; one is needed")
        run(["dpkg-deb", "-x", str(debs[0].resolve()), str(target)], folder)
        version = run(["dpkg-deb", "-f", str(debs[0].resolve()), "Version"], folder)
        (target / "version").write_text(version.strip())
        for path in sorted(target.glob(source.get("resources", "no resources"))):
            for name, data in resources(path.read_bytes()):
                (target / "resources" / name).parent.mkdir(parents=True, exist_ok=True)
                (target / "resources" / name).write_bytes(data)
    return target


def resources(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Path and content of every file in a Qt resource file (`rcc --binary`); compressed ones by zlib only.

    A header (`qres`, version, and where tree, data and names begin), a tree of nodes of 14 bytes, 22 since version 2,
    contents and names with their lengths before them.
    """
    magic, version, tree, contents, names = struct.unpack_from(">4s4I", data)
    if magic != b"qres":
        raise ValueError("not a Qt resource file")

    def walk(node: int, folder: str) -> Iterator[tuple[str, bytes]]:
        at = tree + node * (14 if version == 1 else 22)
        name_at, flags = struct.unpack_from(">IH", data, at)
        (length,) = struct.unpack_from(">H", data, names + name_at)
        path = folder + data[names + name_at + 6 :][: 2 * length].decode("utf-16-be") if node else ""
        if flags & 2:  # a folder: how many children, and the first one's node
            count, first = struct.unpack_from(">II", data, at + 6)
            for child in range(first, first + count):
                yield from walk(child, f"{path}/" if path else "")
        elif not flags & 4:  # not Zstandard
            (start,) = struct.unpack_from(">I", data, at + 10)
            (size,) = struct.unpack_from(">I", data, contents + start)
            content = data[contents + start + 4 :][:size]
            yield path, zlib.decompress(content[4:]) if flags & 1 else content

    return walk(0, "")


def photographs(source: dict, unpacked: Path, card: dict) -> Iterator[Photograph]:
    """The photographs of a source that are large enough, each with the licence that the package states for it."""
    package, folder = source["package"], unpacked / source["folder"]
    paragraphs = read_copyright((unpacked / "usr/share/doc" / package / "copyright").read_text(errors="replace"))
    version = (unpacked / "version").read_text()
    for path in sorted(p for pattern in source["photos"] for p in folder.glob(pattern)):
        name = path.relative_to(folder).as_posix()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in source["leave_out"]):
            continue
        with Image.open(path) as image:
            size = image.size
        if min(size) < source.get("smallest", SMALLEST):
            continue
        author, licence = stated(paragraphs, f"{source['origin']}/{name}".lstrip("/"), path)
        own = [own for pattern, own in source.get("licence", {}).items() if fnmatch.fnmatchcase(name, pattern)]
        use = "card" if (package, name) == (card["package"], card["photo"]) else use_of(source, name, size)
        yield Photograph(path, package, version, name, author, own[0] if own else licence, size, use)


def use_of(source: dict, name: str, size: tuple[int, int]) -> str:
    """What a photograph is for. The split is by a digest of its name, so that it stays where it is."""
    if source.get("test_only"):
        return "test-only"
    place = int.from_bytes(hashlib.sha256(f"{source['package']}/{name}".encode()).digest()[:8], "big") / 2**64
    for use, share in SPLIT.items():
        if place < share and min(size) >= SMALLEST:
            return use
        place -= share
    return "training"


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

    What a README in a folder above says of this very picture counts before the package's paragraphs. Of these the
    last one that matches; a `.license` file beside the picture (REUSE) may name the author more exactly, and where it
    states another licence the file's is unclear.
    """
    for folder in file.parents[:READMES]:
        listed = read_readme(folder / "README").get(file.relative_to(folder).as_posix())
        if listed:
            return listed
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


def read_readme(path: Path) -> dict[str, tuple[str, str]]:
    """Author and licence of each file that a README lists in paragraphs of `Copyright`, `License` and `Files`."""
    result = {}
    for block in re.split(r"\n[ \t]*\n", path.read_text(errors="replace")) if path.is_file() else []:
        fields = dict(re.findall(r"^([A-Z][a-z]+):[ \t]*(.*(?:\n(?![A-Z][a-z]+:).*)*)", block, re.MULTILINE))
        author = "; ".join(line.strip() for line in fields.get("Copyright", "").splitlines() if line.strip())
        licence = re.sub(r"(?i)public domain", "public-domain", fields.get("License", "").strip())
        licence = re.sub(r"(?<=BY|SA) (?=\d)", "-", licence)
        for name in fields.get("Files", "").split():
            result[name] = (author, licence)
    return result


def without_doubles(photos: list[Photograph]) -> list[Photograph]:
    """Each photograph once: of those that look the same one to judge with before one to train on, then the largest."""
    kept: list[tuple[int, Photograph]] = []
    for photo in sorted(photos, key=lambda photo: (photo.use == "training", -photo.size[0] * photo.size[1])):
        with Image.open(photo.path) as image:
            values = list(image.convert("L").resize((9, 8), Image.Resampling.BOX).tobytes())
        bits = sum((values[y * 9 + x] < values[y * 9 + x + 1]) << (y * 8 + x) for y in range(8) for x in range(8))
        if all((other ^ bits).bit_count() > NEAR for other, _ in kept):
            kept.append((bits, photo))
    return [photo for _, photo in kept]


def crops(photo: Photograph, most: int, options: argparse.Namespace) -> Iterator[tuple[str, bytes]]:
    """Name and JPEG of at most `most` crops, in turn of every scale, the whole picture's first."""
    with Image.open(photo.path) as file:
        image = ImageOps.exif_transpose(file).convert("RGB")
    rng = random.Random(f"{options.seed} {photo.package} {photo.name}")
    stem = f"{photo.package}/{photo.name.rpartition('.')[0].replace('/', '-').replace(' ', '-')}"
    side = min(options.side, *image.size)
    turns = []
    for shorter in scales(min(image.size), side):
        longer = round(shorter * max(image.size) / min(image.size))
        width, height = (longer, shorter) if image.width > image.height else (shorter, longer)
        places = [(width, height, x, y) for y in grid(height, side) for x in grid(width, side)]
        turns += [(turn, *place) for turn, place in enumerate(rng.sample(places, len(places)))]
    for _, width, height, x, y in sorted(turns, key=lambda turn: (turn[0], turn[1]))[:most]:
        across, down = image.width / width, image.height / height
        right, bottom = min((x + side) * across, image.width), min((y + side) * down, image.height)
        crop = image.resize((side, side), Image.Resampling.LANCZOS, (x * across, y * down, right, bottom))
        if ImageStat.Stat(crop.convert("L")).stddev[0] >= FLAT:
            stream = io.BytesIO()
            crop.save(stream, "JPEG", quality=options.quality)
            yield f"{stem}-{min(width, height)}-{x}-{y}.jpg", stream.getvalue()


def scales(shorter: int, side: int) -> list[int]:
    """Lengths to give a shorter side of `shorter` pixels, at least `side`: from `side` to its own."""
    lengths = [side]
    while lengths[-1] * STEP < shorter:
        lengths.append(round(lengths[-1] * STEP))
    return [*lengths, shorter] if shorter > lengths[-1] else lengths


def grid(length: int, side: int) -> list[int]:
    """Where crops of `side` begin so that they cover `length` evenly, two thirds of a side apart or less."""
    count = 1 + -(-3 * (length - side) // (2 * side))
    return [round(i * (length - side) / max(count - 1, 1)) for i in range(count)]


def write(options: argparse.Namespace, photos: list[Photograph]) -> None:
    """The shards, a tar for each other use, and the list of licences."""
    options.output.mkdir(parents=True)
    (options.output / "shards").mkdir()
    listed = licences(photos).encode()
    (options.output / "LICENCES.md").write_bytes(listed)
    of = {use: [photo for photo in photos if photo.use == use] for use in USES}
    for use in ("held-out", "test-only", "card"):
        entries = [(f"{photo.package}/{photo.name.replace('/', '-')}", photo.path.read_bytes()) for photo in of[use]]
        write_tar(options.output / f"{use}.tar", [("LICENCES.md", listed), *entries])
    watched = [entry for photo in of["validation"] for entry in crops(photo, VALIDATION_CROPS, options)]
    write_tar(options.output / "validation.tar", [("LICENCES.md", listed), *watched])
    cut = [entry for photo in of["training"] for entry in crops(photo, options.crops, options)]
    once = sorted({hashlib.sha256(data).digest(): (name, data) for name, data in cut}.values())
    random.Random(options.seed).shuffle(once)
    number = write_shards(options.output / "shards", listed, once)
    uses = ", ".join(f"{len(of[use])} {use}" for use in USES)
    size = sum(len(data) for _, data in once) / 1e6
    print(f"photographs: {uses}; training: {len(once)} crops, {size:.0f} MB, {number} shards")


def write_shards(folder: Path, listed: bytes, files: list[tuple[str, bytes]]) -> int:
    """Tars below `SHARD_BYTES`, each with the list of licences; how many there are."""
    entries, size, number = [("LICENCES.md", listed)], 0, 0
    for name, data in files:
        padded = 512 + -(-len(data) // 512) * 512
        if size + padded > SHARD_BYTES - len(listed) - 20_480:  # the list, its header, the end of the archive
            write_tar(folder / f"photos-{number:03}.tar", entries)
            entries, size, number = [("LICENCES.md", listed)], 0, number + 1
        entries.append((name, data))
        size += padded
    write_tar(folder / f"photos-{number:03}.tar", entries)
    return number + 1


def write_tar(path: Path, entries: list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in entries:
            header = tarfile.TarInfo(name)  # no owner, no time: the same bytes every time
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))


def licences(photos: list[Photograph]) -> str:
    """What each licence asks for: names, sources, and that the pictures were changed (cut and scaled)."""
    rows = [
        f"| {photo.package} {photo.version} | {photo.name} | {photo.size[0]} x {photo.size[1]} "
        f"| {photo.author.replace('|', '/')} | {photo.licence} | {photo.use} |"
        for photo in sorted(photos, key=lambda photo: (photo.package, photo.name))
    ]
    counts = Counter(photo.use for photo in photos)
    head = (
        "# Photographs\n\nFrom Debian packages; licence and author as the packages state them. The texts:\n"
        "https://creativecommons.org/licenses/ and https://creativecommons.org/publicdomain/.\n"
        "Those for training and validation were cut and scaled.\n\n"
        + "".join(f"- {use}: {counts[use]}\n" for use in USES)
    )
    table = ["| package | file | pixels | author | licence | use |", "|---|---|---|---|---|---|", *rows]
    return head + "\n" + "\n".join(table) + "\n"


if __name__ == "__main__":
    main()
