"""The recipe that makes a training set from Debian packages; the packages here are made by the tests."""

import base64
import importlib.util
import io
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cmgan.train.data.pictures import open_pictures
from tests.hostile.generate import encoded, photo
from tests.tolerances import tolerance

RECIPE = Path(__file__).parents[3] / "recipes/photos/prepare.py"


@pytest.fixture(scope="module")
def prepare():
    spec = importlib.util.spec_from_file_location("prepare_photos", RECIPE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: pictures
Source: https://example.org

Files: *
Copyright: Somebody
License: GPL-2+

Files:
 photos/sea*.jpg
 photos/land?.jpg
Copyright: 2018, A. Nna <a@example.org>
           2019, B. Ert
License: CC-BY-4.0
Comment: taken at the sea

Files: photos/sea3*
Copyright: C. Arla
License: CC-BY-SA-4.0

Files: photos/old/*
Copyright: Nobody
License: public-domain
 Taken by a government employee.
 .
 Files: this line is part of the text above

License: CC-BY-4.0
 By exercising the Licensed Rights ...
"""


class TestCopyrightFile:
    @pytest.mark.parametrize(
        ("path", "licence"),
        [
            ("photos/sea1.jpg", "CC-BY-4.0"),
            ("photos/land1.jpg", "CC-BY-4.0"),
            ("photos/land12.jpg", "GPL-2+"),  # ? is one character
            ("photos/sea3.jpg", "CC-BY-SA-4.0"),  # the last paragraph counts
            ("photos/old/very/deep.jpg", "public-domain"),  # * goes through folders
            ("other.jpg", "GPL-2+"),
        ],
    )
    def test_gives_each_file_its_licence(self, path, licence, prepare, tmp_path):
        assert prepare.stated(prepare.read_copyright(COPYRIGHT), path, tmp_path / "x.jpg")[1] == licence

    def test_gives_the_authors(self, prepare, tmp_path):
        author, _ = prepare.stated(prepare.read_copyright(COPYRIGHT), "photos/sea1.jpg", tmp_path / "x.jpg")
        assert author == "2018, A. Nna <a@example.org>; 2019, B. Ert"

    @pytest.mark.parametrize("text", ["", "This package was debianized by ...\n\nFiles: *\nLicense: CC0\n"])
    def test_of_the_old_free_form_states_nothing(self, text, prepare, tmp_path):
        assert prepare.stated(prepare.read_copyright(text), "a.jpg", tmp_path / "a.jpg")[1] == "not stated"

    def test_beside_the_picture_is_more_exact_but_must_agree(self, prepare, tmp_path):
        beside = tmp_path / "sea1.jpg.license"
        paragraphs = prepare.read_copyright(COPYRIGHT)
        beside.write_text("SPDX-FileCopyrightText: 2018 A. Nna\n\nSPDX-License-Identifier: CC-BY-4.0\n")
        assert prepare.stated(paragraphs, "photos/sea1.jpg", tmp_path / "sea1.jpg") == ("2018 A. Nna", "CC-BY-4.0")
        beside.write_text("SPDX-License-Identifier: CC-BY-NC-4.0\n")
        assert prepare.stated(paragraphs, "photos/sea1.jpg", tmp_path / "sea1.jpg")[1] == "unclear"

    @pytest.mark.parametrize(
        ("licence", "free"),
        [("CC0", True), ("CC0-1.0", True), ("CC-BY-2.0", True), ("CC-BY-4.0", True), ("public-domain", True)]
        + [
            (other, False)
            for other in ("CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-4.0 and GPL-2", "GPL-2+", "BSD-3-clause")
        ]
        + [("not stated", False), ("unclear", False), ("", False)],
    )
    def test_only_three_kinds_of_licence_are_free_enough(self, licence, free, prepare):
        assert bool(prepare.FREE.fullmatch(licence)) == free


README = """Copyright: Tim, 2022
License: CC-BY-SA 4.0
Files:
key.svg

Copyright:
  Copyright 1989 A. Gency
  Copyright 2020 Tim
License: Public Domain
Comment: original source at https://example.org
Files:
  near.jpg
  deep/far.jpg

Files: other.jpg
Source: https://example.org/other
License: CC-BY 2.0
Copyright: B. Ert
"""


class TestReadme:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("near.jpg", ("Copyright 1989 A. Gency; Copyright 2020 Tim", "public-domain")),
            ("deep/far.jpg", ("Copyright 1989 A. Gency; Copyright 2020 Tim", "public-domain")),
            ("other.jpg", ("B. Ert", "CC-BY-2.0")),
            ("key.svg", ("Tim, 2022", "CC-BY-SA-4.0")),
            ("sea1.jpg", ("2018, A. Nna <a@example.org>; 2019, B. Ert", "CC-BY-4.0")),  # not in the list
            ("deep/near.jpg", ("Somebody", "GPL-2+")),  # another one of that name
        ],
    )
    def test_counts_before_the_copyright_file_for_what_it_lists(self, name, expected, prepare, tmp_path):
        (tmp_path / "README").write_text(README)
        paragraphs = prepare.read_copyright(COPYRIGHT)
        assert prepare.stated(paragraphs, f"photos/{name}", tmp_path / name) == expected

    def test_of_another_form_lists_nothing(self, prepare, tmp_path):
        (tmp_path / "README").write_text("# Pictures\n\nFiles are in folders, License is free.\n")
        assert prepare.read_readme(tmp_path / "README") == {}


# By Qt's own compiler (rcc 5.15, --binary, formats 1 and 3): three files, of which the second is compressed.
RESOURCES = {
    1: (
        "cXJlcwAAAAEAAACyAAAAFAAAAFgAAAAUAAECAwQFBgcICQoLDA0ODxAREhMAAAAGcGxhaW4KAAAAHgAAAgh4nEvOzy0oSi0uzkzK"
        "SVVIHuWMVA4APObOQQADAAB7YAB0AG8AcAAJAey/PgB0AHcAbwAgAOkALgBiAGkAbgABAAAAYQBhAAEAAABiAGIABgVpWRUAUgBF"
        "AEEARABNAEUABwZIWxQAbwBuAGUALgB0AHgAdAAAAAAAAgAAAAEAAAABAAAAAAACAAAAAgAAAAIAAAAkAAIAAAACAAAABAAAAAwA"
        "AAAAAAEAAAAAAAAALAACAAAAAQAAAAYAAAA0AAAAAAABAAAAGAAAAEYAAQAAAAEAAAAi"
    ),
    3: (
        "cXJlcwAAAAMAAAC2AAAAGAAAAFwAAAABAAAAFAABAgMEBQYHCAkKCwwNDg8QERITAAAABnBsYWluCgAAAB4AAAIIeJxLzs8tKEot"
        "Ls5MyklVSB7ljFQOADzmzkEAAwAAe2AAdABvAHAACQHsvz4AdAB3AG8AIADpAC4AYgBpAG4AAQAAAGEAYQABAAAAYgBiAAYFaVkV"
        "AFIARQBBAEQATQBFAAcGSFsUAG8AbgBlAC4AdAB4AHQAAAAAAAIAAAABAAAAAQAAAAAAAAAAAAAAAAACAAAAAgAAAAIAAAAAAAAA"
        "AAAAACQAAgAAAAIAAAAEAAAAAAAAAAAAAAAMAAAAAAABAAAAAAAAAaIkkUmjAAAALAACAAAAAQAAAAYAAAAAAAAAAAAAADQAAAAA"
        "AAEAAAAYAAABoiSRSaMAAABGAAEAAAABAAAAIgAAAaIkkUmj"
    ),
}
CONTENT = {"top/a/README": b"plain\n", "top/a/b/one.txt": b"compressible " * 40, "top/two \u00e9.bin": bytes(range(20))}


class TestResources:
    @pytest.mark.parametrize("version", RESOURCES)
    def test_files_of_a_resource_file(self, version, prepare):
        assert dict(prepare.resources(base64.b64decode("".join(RESOURCES[version])))) == CONTENT

    def test_another_file_is_refused(self, prepare):
        with pytest.raises(ValueError, match="resource"):
            list(prepare.resources(bytes(64)))


class TestSplit:
    def test_gives_each_use_its_share_and_never_changes(self, prepare):
        uses = [prepare.use_of({"package": "p"}, f"{i}.jpg", (400, 300)) for i in range(20_000)]
        assert uses == [prepare.use_of({"package": "p"}, f"{i}.jpg", (800, 900)) for i in range(20_000)]
        assert uses.count("held-out") / 20_000 == pytest.approx(0.10, abs=tolerance("share_of_20000"))
        assert uses.count("validation") / 20_000 == pytest.approx(0.06, abs=tolerance("share_of_20000"))
        assert uses.count("training") == 20_000 - uses.count("held-out") - uses.count("validation")

    def test_small_ones_only_train_and_some_packages_never_do(self, prepare):
        assert {prepare.use_of({"package": "p"}, f"{i}.jpg", (400, 250)) for i in range(100)} == {"training"}
        source = {"package": "p", "test_only": True}
        assert {prepare.use_of(source, f"{i}.jpg", (400, 300)) for i in range(100)} == {"test-only"}


def test_crops_cover_a_photograph_and_stay_within(prepare):
    for length, side in ((384, 384), (385, 384), (720, 384), (5000, 384)):
        starts = prepare.grid(length, side)
        assert starts[0] == 0 and starts[-1] == length - side
        assert all(0 <= b - a <= side * 2 / 3 + 1 for a, b in zip(starts, starts[1:], strict=False))


def test_scales_go_from_the_whole_picture_to_its_own_size(prepare):
    assert prepare.scales(384, 384) == [384]
    assert prepare.scales(720, 384) == [384, 576, 720]


def _photo(width, height, seed):
    """A photograph of that seed at any size."""
    return np.asarray(Image.fromarray(photo(420, 300, seed)).resize((width, height)))


# The digests of `pictures/sea1.jpg` and of sea40 are in the first tenth, which is held out, that of sea11 in the six
# hundredths after it, which are for validation.
PHOTOS = {
    "sea0.jpg": _photo(420, 300, 0),
    "sea5.jpg": _photo(840, 600, 0),  # a larger double
    "sea1.jpg": _photo(420, 300, 1),
    "sea12.jpg": _photo(840, 600, 1),  # a double of one that is held out
    "sea2.jpg": _photo(420, 300, 2),  # share-alike by sources.toml
    "sea3.jpg": _photo(420, 300, 3),  # share-alike
    "sea4.jpg": _photo(200, 150, 4),  # too small
    "sea6.jpg": _photo(420, 300, 6),  # the card's
    "sea11.jpg": _photo(420, 300, 11),
    "sea40.jpg": _photo(360, 260, 40),  # smaller than what one judges with
    "land1.jpg": _photo(420, 300, 9),  # left out
}
SOURCES = """
[card]
package = "pictures"
photo = "sea6.jpg"

[[source]]
suite = "bookworm"
package = "pictures"
resources = "usr/share/*.rcc"
folder = "usr/share/pictures"
origin = "photos"
smallest = 220
photos = ["*.jpg"]
leave_out = ["land*"]

[source.licence]
"sea2*" = "CC-BY-SA-4.0"

[[source]]
suite = "trixie"
package = "others"
folder = "usr/share/pictures"
origin = "photos"
test_only = true
photos = ["*.jpg"]
leave_out = []
"""


@pytest.fixture(scope="module")
def debs(tmp_path_factory):
    """A folder with the packages `pictures` and `others`."""
    if not shutil.which("dpkg-deb"):
        pytest.skip("needs dpkg-deb")
    folder = tmp_path_factory.mktemp("debs")
    for package, photos in (("pictures", PHOTOS), ("others", {"sea50.jpg": _photo(900, 600, 50)})):
        tree = tmp_path_factory.mktemp(package)
        for name in ("DEBIAN", "usr/share/pictures", f"usr/share/doc/{package}"):
            (tree / name).mkdir(parents=True)
        (tree / "DEBIAN/control").write_text(
            f"Package: {package}\nVersion: 1.2-3\nArchitecture: all\nMaintainer: A <a@b.c>\nDescription: x\n"
        )
        (tree / f"usr/share/doc/{package}/copyright").write_text(COPYRIGHT)
        (tree / "usr/share/x.rcc").write_bytes(base64.b64decode("".join(RESOURCES[3])))
        for name, array in photos.items():
            (tree / "usr/share/pictures" / name).write_bytes(encoded(array, "JPEG"))
        command = ["dpkg-deb", "--root-owner-group", "-Znone", "-b", str(tree), f"{folder}/{package}_1.2-3_all.deb"]
        subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture
def run(prepare, debs, tmp_path, monkeypatch):
    """The recipe on that package; gives the folder it made."""
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe/sources.toml").write_text(SOURCES)
    monkeypatch.setattr(prepare, "__file__", str(tmp_path / "recipe/prepare.py"))

    def of(name, *options):
        arguments = ["prepare.py", str(tmp_path / name), "--debs", str(debs), "--side", "96", *options]
        monkeypatch.setattr(sys, "argv", arguments)
        prepare.main()
        return tmp_path / name

    return of


def photographs_in(path):
    pictures = open_pictures(path)
    return {Path(pictures.name(i)).stem.split("-")[0] for i in range(len(pictures))}


class TestRecipe:
    def test_puts_every_free_photograph_once_and_in_one_place(self, run):
        output = run("out")
        parts = ("shards", "validation.tar", "held-out.tar", "test-only.tar", "card.tar")
        assert [photographs_in(output / part) for part in parts] == [
            {"sea5", "sea40"},
            {"sea11"},
            {"sea1"},
            {"sea50"},
            {"sea6"},
        ]
        output = run("all", "--all-licences")
        assert photographs_in(output / "shards") == {"sea2", "sea5", "sea40"}
        assert photographs_in(output / "held-out.tar") == {"sea1", "sea3"}

    def test_writes_those_to_judge_with_as_they_are_and_names_every_one(self, run):
        output = run("out")
        held = open_pictures(output / "held-out.tar")
        assert [held.name(i) for i in range(len(held))] == ["pictures/sea1.jpg"]
        assert held.read(0) == encoded(PHOTOS["sea1.jpg"], "JPEG")
        text = (output / "LICENCES.md").read_text()
        rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in text.splitlines() if "1.2-3" in row]
        assert all("A. Nna" in row[3] and row[4] == "CC-BY-4.0" for row in rows)
        assert [(row[0], row[1], row[2], row[5]) for row in rows] == [
            ("others 1.2-3", "sea50.jpg", "900 x 600", "test-only"),
            ("pictures 1.2-3", "sea1.jpg", "420 x 300", "held-out"),
            ("pictures 1.2-3", "sea11.jpg", "420 x 300", "validation"),
            ("pictures 1.2-3", "sea40.jpg", "360 x 260", "training"),
            ("pictures 1.2-3", "sea5.jpg", "840 x 600", "training"),
            ("pictures 1.2-3", "sea6.jpg", "420 x 300", "card"),
        ]
        assert "- training: 2\n- validation: 1\n- held-out: 1\n- test-only: 1\n- card: 1\n" in text
        for tar in sorted(output.rglob("*.tar")):
            with tarfile.open(tar) as archive:
                assert archive.extractfile("LICENCES.md").read().decode() == text

    def test_unpacks_resource_files(self, prepare, debs, tmp_path):
        target = prepare.unpack({"package": "pictures", "resources": "usr/share/*.rcc"}, debs, tmp_path)
        assert {name: (target / "resources" / name).read_bytes() for name in CONTENT} == CONTENT

    def test_crops_are_parts_of_the_photograph_at_several_scales(self, run):
        """What a crop shows is what its name says: scaled to that shorter side, cut there."""
        pictures, scales = open_pictures(run("out", "--crops", "9", "--quality", "95") / "shards"), set()
        whole = Image.fromarray(PHOTOS["sea5.jpg"])
        for i in range(len(pictures)):
            stem, *numbers = Path(pictures.name(i)).stem.split("-")
            if stem == "sea5":
                shorter, x, y = map(int, numbers)
                scaled = whole.resize((round(840 * shorter / 600), shorter), Image.Resampling.LANCZOS)
                expected = np.asarray(scaled.crop((x, y, x + 96, y + 96)), float)
                found = np.asarray(Image.open(io.BytesIO(pictures.read(i))), float)
                assert np.abs(found - expected).mean() < tolerance("jpeg_95")
                scales.add(shorter)
        assert scales == {96, 144, 216, 324, 486, 600}

    def test_cuts_no_more_crops_of_a_photograph_than_asked(self, run):
        pictures = open_pictures(run("out", "--crops", "5") / "shards")
        stems = [Path(pictures.name(i)).stem.split("-")[0] for i in range(len(pictures))]
        assert max(stems.count(stem) for stem in set(stems)) <= 5

    def test_gives_the_same_bytes_again_and_others_for_another_seed(self, run):
        first, again, other = (run(name, "--seed", seed) for name, seed in (("1", "0"), ("2", "0"), ("3", "1")))
        assert [p.read_bytes() for p in sorted(first.rglob("*.tar"))] == [
            p.read_bytes() for p in sorted(again.rglob("*.tar"))
        ]
        assert (first / "shards/photos-000.tar").read_bytes() != (other / "shards/photos-000.tar").read_bytes()

    def test_cuts_squares_in_shards_below_the_limit_that_each_stand_alone(self, run, prepare, monkeypatch):
        monkeypatch.setattr(prepare, "SHARD_BYTES", 80_000)
        output = run("out", "--all-licences")
        shards = sorted((output / "shards").iterdir())
        assert len(shards) > 1
        assert all(shard.stat().st_size <= 80_000 for shard in shards)
        for shard in shards:
            pictures = open_pictures(shard)
            for number in range(len(pictures)):
                assert Image.open(io.BytesIO(pictures.read(number))).size == (96, 96)
        assert len(open_pictures(output / "shards")) == sum(len(open_pictures(shard)) for shard in shards)

    def test_does_not_write_over_a_set(self, run):
        run("out")
        with pytest.raises(FileExistsError):
            run("out")


def test_no_evaluation_picture_is_a_source():
    """The pictures of scikit-image and scikit-learn that the evaluation uses are in none of these packages."""
    sources = tomllib.loads((RECIPE.parent / "sources.toml").read_text())
    assert not [s["package"] for s in sources["source"] if "skimage" in s["package"] or "sklearn" in s["package"]]
    card = sources["card"]
    assert any(s["package"] == card["package"] for s in sources["source"])
    assert any(s.get("test_only") for s in sources["source"])
