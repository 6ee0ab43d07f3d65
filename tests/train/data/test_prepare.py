"""The recipe that makes a training set from Debian packages; the packages here are made by the tests."""

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


def test_crops_cover_a_photograph_and_stay_within(prepare):
    for length, side in ((384, 384), (385, 384), (720, 384), (5000, 384)):
        starts = prepare.grid(length, side)
        assert starts[0] == 0 and starts[-1] == length - side
        assert all(0 <= b - a <= side * 2 / 3 + 1 for a, b in zip(starts, starts[1:], strict=False))


def test_scales_go_from_the_whole_picture_to_its_own_size(prepare):
    assert prepare.scales(384, 384) == [384]
    assert prepare.scales(300, 384) == [384]
    assert prepare.scales(720, 384) == [384, 576, 720]


PHOTOS = {f"photos/sea{i}.jpg": photo(420, 300, i) for i in range(3)} | {"photos/sea3.jpg": photo(420, 300, 3)}
PHOTOS["photos/sea4.jpg"] = photo(200, 150, 4)  # too small
PHOTOS["photos/sea5.jpg"] = np.asarray(Image.fromarray(PHOTOS["photos/sea0.jpg"]).resize((840, 600)))  # a double
SOURCES = """
[held_out]
package = "pictures"
photo = "sea1.jpg"

[[source]]
package = "pictures"
folder = "usr/share/pictures"
origin = "photos"
photos = ["*.jpg"]
leave_out = ["land*"]

[source.licence]
"sea2*" = "CC-BY-SA-4.0"
"""


@pytest.fixture(scope="module")
def debs(tmp_path_factory):
    """A folder with the package `pictures`."""
    if not shutil.which("dpkg-deb"):
        pytest.skip("needs dpkg-deb")
    tree, folder = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("debs")
    for name in ("DEBIAN", "usr/share/pictures", "usr/share/doc/pictures"):
        (tree / name).mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: pictures\nVersion: 1.2-3\nArchitecture: all\nMaintainer: A <a@b.c>\nDescription: x\n"
    )
    (tree / "usr/share/doc/pictures/copyright").write_text(COPYRIGHT)
    for name, array in PHOTOS.items():
        (tree / "usr/share/pictures" / Path(name).name).write_bytes(encoded(array, "JPEG"))
    (tree / "usr/share/pictures/land1.jpg").write_bytes(encoded(photo(420, 300, 9), "JPEG"))
    command = ["dpkg-deb", "--root-owner-group", "-Znone", "-b", str(tree), str(folder / "pictures_1.2-3_all.deb")]
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


def photographs_in(output):
    pictures = open_pictures(output / "shards")
    return {Path(pictures.name(i)).name.split("-")[0] for i in range(len(pictures))}


class TestRecipe:
    def test_takes_free_photographs_large_enough_and_each_once(self, run):
        """sea0 is a smaller double of sea5, sea1 held out, sea2 and sea3 share-alike, sea4 small, land1 left out."""
        assert photographs_in(run("out")) == {"sea5"}
        assert photographs_in(run("all", "--all-licences")) == {"sea2", "sea3", "sea5"}

    def test_writes_the_held_out_one_as_it_is_and_names_every_one(self, run, debs):
        output = run("out")
        held = open_pictures(output / "held-out.tar")
        assert [held.name(i) for i in range(len(held))] == ["sea1.jpg"]
        assert held.read(0) == encoded(PHOTOS["photos/sea1.jpg"], "JPEG")
        text = (output / "LICENCES.md").read_text()
        rows = [row for row in text.splitlines() if "pictures 1.2-3" in row]
        assert len(rows) == 2 and all("A. Nna" in row and "CC-BY-4.0" in row for row in rows)
        assert ["held out" in row for row in rows] == [True, False]
        for tar in (output / "held-out.tar", output / "shards/photos-000.tar"):
            with tarfile.open(tar) as archive:
                assert archive.extractfile("LICENCES.md").read().decode() == text

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
    held = sources["held_out"]
    assert any(s["package"] == held["package"] for s in sources["source"])
