import io
import json
import pickle
import unicodedata
import zipfile

import numpy as np
import pytest
from PIL import Image

from cmgan.errors import PictureError
from cmgan.train.data.pictures import open_pictures
from tests.train.data.archives import folder_of, jpegs, shards_of, tar_of, zip_of

FILES = jpegs(12)


def png(ids, mode=None):
    stream = io.BytesIO()
    Image.fromarray(ids, mode).save(stream, "PNG")
    return stream.getvalue()


IDS = np.repeat(np.arange(3, dtype=np.uint8), 32)[None].repeat(72, 0)  # 96 x 72: nothing, segment 1, segment 2
LIST = [{"id": 1, "isthing": True, "category_id": 7}, {"id": 2, "isthing": False, "category_id": 9}]


def test_a_places365_tar_and_its_folder_are_the_same_collection(tmp_path):
    files = {f"data_large/{name}": data for name, data in FILES.items()}
    tar = open_pictures(tar_of(tmp_path / "train_large_places365standard.tar", files))
    folder = open_pictures(folder_of(tmp_path / "places", files))
    assert [tar.name(i) for i in range(len(tar))] == sorted(files)
    assert [tar.read(i) for i in range(len(tar))] == [folder.read(i) for i in range(len(folder))]
    assert tar.fingerprint == folder.fingerprint


def test_the_fingerprint_tells_of_every_change(tmp_path):
    first = open_pictures(zip_of(tmp_path / "1.zip", FILES)).fingerprint
    name = min(FILES)
    longer = {**FILES, name: FILES[name] + b"\0"}
    fewer = {other: data for other, data in FILES.items() if other != name}
    renamed = {**fewer, "other.jpg": FILES[name]}
    changed = [
        open_pictures(zip_of(tmp_path / f"{i}.zip", f)).fingerprint for i, f in enumerate((longer, fewer, renamed))
    ]
    assert len({first, *changed}) == 4


def test_pickled_it_is_small_and_reads_the_same(tmp_path):
    """It is handed to workers; a zip is opened by each process for itself."""
    for path in (
        zip_of(tmp_path / "z.zip", FILES),
        tar_of(tmp_path / "t.tar", FILES),
        folder_of(tmp_path / "f", FILES),
    ):
        pictures = open_pictures(path)
        pictures.read(0)
        again = pickle.loads(pickle.dumps(pictures))
        assert [again.read(i) for i in range(len(again))] == [FILES[name] for name in sorted(FILES)]


@pytest.mark.parametrize("suffix", ["image.jpg", ".image.jpg", "IMAGE.JPG"])
def test_a_suffix_chooses_among_the_pictures_of_a_sample(suffix, tmp_path):
    sample = {f"{i:03}.{kind}": b"x" for i in range(3) for kind in ("image.jpg", "depth.png", "mask.jpg", "json")}
    path = tar_of(tmp_path / "t.tar", sample)
    chosen = open_pictures(path, suffix=suffix)
    assert [chosen.name(i) for i in range(len(chosen))] == ["000.image.jpg", "001.image.jpg", "002.image.jpg"]
    assert len(open_pictures(path)) == 9
    assert len(open_pictures(path, suffix="jpg")) == 6
    with pytest.raises(PictureError, match=r"\.picture\.jpg"):
        open_pictures(path, suffix="picture.jpg")


@pytest.mark.parametrize("files", [{}, {"readme.txt": b"x"}, {".hidden.jpg": b"x"}, {"list.json": b"[]"}])
def test_without_pictures_it_says_what_was_looked_for(files, tmp_path):
    for make in (folder_of, zip_of, tar_of):
        (tmp_path / "folder").mkdir(exist_ok=True)
        with pytest.raises(PictureError, match=r"\.png, \.jpg, \.jpeg, \.webp") as caught:
            open_pictures(make(tmp_path / ("folder" if make is folder_of else make.__name__), files))
        assert caught.value.slug == "no_pictures"


class TestAnnotations:
    beside = {"p/a.jpg": FILES[min(FILES)], "p/a.png": png(IDS), "p/a.json": json.dumps(LIST).encode()}

    def check(self, pictures):
        assert [pictures.name(i) for i in range(len(pictures))] == ["p/a.jpg"]
        segments = pictures.segments(0)
        assert (segments.ids == IDS).all()
        assert segments.things == {1}

    @pytest.mark.parametrize("make", [folder_of, zip_of, tar_of])
    def test_beside_the_pictures(self, make, tmp_path):
        self.check(open_pictures(make(tmp_path / "data", self.beside)))

    def test_in_an_archive_of_their_own(self, tmp_path):
        pictures = folder_of(tmp_path / "pictures", {"p/a.jpg": self.beside["p/a.jpg"]})
        ids = {name: data for name, data in self.beside.items() if name != "p/a.jpg"}
        self.check(open_pictures(pictures, tar_of(tmp_path / "ids.tar", ids)))

    @pytest.mark.parametrize("form", ["NFC", "NFD"])
    def test_names_are_compared_after_normalisation(self, form, tmp_path):
        here, there = (unicodedata.normalize(f, "\u00e9") for f in (form, "NFD" if form == "NFC" else "NFC"))
        pictures = folder_of(tmp_path / "pictures", {f"{here}.jpg": self.beside["p/a.jpg"]})
        ids = {f"{there}.png": self.beside["p/a.png"], f"{there}.json": self.beside["p/a.json"]}
        assert open_pictures(pictures, tar_of(tmp_path / "ids.tar", ids)).segments(0).things == {1}

    def test_in_shards_beside_the_pictures(self, tmp_path):
        pictures = open_pictures(shards_of(tmp_path / "shards", {**self.beside, "p/b.jpg": b"x"}, 1))
        self.check_first(pictures)

    def check_first(self, pictures):
        assert pictures.segments(0).things == {1}
        assert pictures.segments(1) is None

    def test_in_the_form_of_coco(self, tmp_path):
        """Ids are colours there, and categories say what is a thing."""
        colours = np.zeros((72, 96, 3), np.uint8)
        colours[:, :48] = (0x56, 0x34, 0x12)
        document = {
            "annotations": [
                {"file_name": "a.png", "segments_info": [{"id": 0x123456, "category_id": 7, "iscrowd": 0, "area": 1}]}
            ],
            "categories": [{"id": 7, "isthing": 1, "name": "cat"}],
        }
        files = {
            "train/a.jpg": self.beside["p/a.jpg"],
            "panoptic_train/a.png": png(colours),
            "panoptic_train.json": json.dumps(document).encode(),
        }
        pictures = open_pictures(folder_of(tmp_path / "coco", files))
        assert [pictures.name(i) for i in range(len(pictures))] == ["train/a.jpg"]
        assert pictures.segments(0).things == {0x123456}
        assert (pictures.segments(0).ids[:, :48] == 0x123456).all()
        document["categories"] = []
        with pytest.raises(PictureError, match="COCO"):
            open_pictures(folder_of(tmp_path / "coco", {"panoptic_train.json": json.dumps(document).encode()}))

    def test_a_png_with_a_json_of_something_else_is_a_picture(self, tmp_path):
        """WebDataset puts descriptions there."""
        files = {"a.png": png(IDS), "a.json": b'{"caption": "stripes"}', "b.jpg": b"x", "b.png": png(IDS)}
        pictures = open_pictures(folder_of(tmp_path / "data", files))
        assert [pictures.name(i) for i in range(len(pictures))] == ["a.png", "b.jpg", "b.png"]
        assert pictures.segments(0) is None

    @pytest.mark.parametrize(
        ("part", "data"),
        [("p/a.png", b"no PNG"), ("p/a.json", b"{"), ("p/a.json", b'[{"id": 1}]'), ("p/a.json", b"[]")],
    )
    def test_a_damaged_one_is_refused_and_named(self, part, data, tmp_path):
        pictures = open_pictures(zip_of(tmp_path / "z.zip", {**self.beside, part: data}, zipfile.ZIP_DEFLATED))
        with pytest.raises(PictureError, match="p/a"):
            pictures.segments(0)
