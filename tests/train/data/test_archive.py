import os
import tarfile
import zipfile

import numpy as np
import pytest

from cmgan.errors import PictureError
from cmgan.train.data.archive import Names, open_archive
from cmgan.train.data.tar_index import index_of_tar
from tests.train.data.archives import folder_of, jpegs, shards_of, tar_of, zip_of

FILES = jpegs(6)


def contents(archive, limit=10**6):
    return {name: archive.read(number, limit) for number, name in enumerate(archive.names)}


@pytest.fixture
def make(tmp_path):
    """Kind -> an archive of the files."""
    return {
        "folder": lambda files: folder_of(tmp_path / "folder", files),
        "zip": lambda files: zip_of(tmp_path / "files.zip", files),
        "deflated zip": lambda files: zip_of(tmp_path / "files.zip", files, zipfile.ZIP_DEFLATED),
        "tar": lambda files: tar_of(tmp_path / "files.tar", files),
    }


@pytest.mark.parametrize("kind", ["folder", "zip", "deflated zip", "tar"])
def test_every_kind_of_archive_gives_the_same_files_in_the_same_order(kind, make):
    backwards = dict(reversed(FILES.items()))
    archive = open_archive(make[kind](backwards))
    assert list(archive.names) == sorted(FILES)
    assert contents(archive) == FILES
    assert archive.sizes.tolist() == [len(FILES[name]) for name in sorted(FILES)]


def test_shards_are_one_collection_and_their_names_begin_every_name(tmp_path):
    archive = open_archive(shards_of(tmp_path / "shards", FILES, 3))
    assert {name.split("/", 1)[1]: data for name, data in contents(archive).items()} == FILES
    assert {name.split("/")[0] for name in archive.names} == {"shard-0", "shard-1", "shard-2"}


def test_what_lies_beside_shards_is_left_out_and_said(tmp_path, caplog):
    """As img2dataset writes them: statistics and a table beside each tar."""
    folder = shards_of(tmp_path / "shards", FILES, 2)
    alone = contents(open_archive(folder))
    assert not caplog.records
    folder_of(folder, {"stray.jpg": FILES[min(FILES)], "sub/stray.jpg": b"x", "._shard-0.tar": b"x"})
    folder_of(folder, {"000000_stats.json": b"{}", "000000.parquet": b"x", "README.md": b"x"})
    assert contents(open_archive(folder)) == alone
    assert [record.slug for record in caplog.records] == ["beside_shards"]
    assert "its 2 tars are read, 5 others left out: 000000.parquet, 000000_stats.json, README.md, ..." in caplog.text


class TestJoinedTars:
    def joined(self, tmp_path, *parts):
        data = [tar_of(tmp_path / f"{i}.tar", files).read_bytes() for i, files in enumerate(parts)]
        (tmp_path / "joined.tar").write_bytes(b"".join(data))
        return tmp_path / "joined.tar"

    def test_are_read_to_their_end(self, tmp_path):
        """As by `cat a.tar b.tar c.tar`: each has its own end mark."""
        names = sorted(FILES)
        parts = [{name: FILES[name] for name in names[i::3]} for i in range(3)]
        assert contents(open_archive(self.joined(tmp_path, *parts))) == FILES

    def test_any_padding_of_zeros_is_no_more_than_that(self, tmp_path):
        path = self.joined(tmp_path, FILES)
        path.write_bytes(path.read_bytes() + bytes(3 * 2**20 + 512) + path.read_bytes())
        assert contents(open_archive(path)) == FILES
        assert len(index_of_tar(path).names) == 2 * len(FILES)

    @pytest.mark.parametrize("rest", [b"x", b"x" * 700, bytes(700) + b"x" * 2000])
    def test_what_is_no_tar_behind_the_end_is_refused(self, rest, tmp_path):
        path = self.joined(tmp_path, FILES)
        path.write_bytes(path.read_bytes() + rest)
        with pytest.raises(PictureError, match="after 6 files") as caught:
            open_archive(path)
        assert caught.value.slug == "archive_truncated"

    def test_a_cut_one_is_refused(self, tmp_path):
        path = self.joined(tmp_path, FILES, {"last.jpg": b"x" * 5000})
        path.write_bytes(path.read_bytes()[: -(10240 - 3000)])
        with pytest.raises(PictureError) as caught:
            open_archive(path)
        assert caught.value.slug == "archive_truncated"


def test_a_tar_made_of_a_folder_has_its_names(tmp_path):
    """GNU tar begins them with ./"""
    folder_of(tmp_path / "folder", FILES)
    with tarfile.open(tmp_path / "files.tar", "w") as tar:
        tar.add(tmp_path / "folder", ".")
    assert contents(open_archive(tmp_path / "files.tar")) == FILES


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_in_every_form_of_tar(form, tmp_path):
    name = f"{'long' * 30}/{'é' if form != tarfile.USTAR_FORMAT else 'e'}.jpg"
    with tarfile.open(tmp_path / "files.tar", "w", format=form) as tar:
        (tmp_path / "x").write_bytes(b"data")
        tar.add(tmp_path / "x", name)
    assert contents(open_archive(tmp_path / "files.tar")) == {name: b"data"}


def test_names_behave_like_a_list_and_keep_undecodable_ones():
    listed = ["a", "", "é", os.fsdecode(b"\xff.jpg")]
    names = Names(listed)
    assert list(names) == listed
    assert names[1:3] == listed[1:3]
    with pytest.raises(IndexError):
        names[4]


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_what_is_no_picture_or_hidden_does_not_count(kind, make):
    noise = {name: b"x" for name in ("._a.jpg", ".trash/b.jpg", "__MACOSX/._c.jpg", "d.txt", "e.mp4", "Thumbs.db")}
    assert set(contents(open_archive(make[kind](FILES | noise)))) == set(FILES)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_out_of_the_archive_do_not_count(kind, make):
    noise = {name: b"x" for name in ("../up.jpg", "a/../../up.jpg", "/etc/absolute.jpg")}
    assert set(contents(open_archive(make[kind](FILES | noise)))) == set(FILES)


def test_of_entries_of_one_name_the_last_counts(tmp_path):
    for file, opened in (("files.tar", tarfile.open), ("files.zip", zipfile.ZipFile)):
        with opened(tmp_path / file, "w") as archive:
            for data in (b"first", b"second"):
                (tmp_path / "x").write_bytes(data)
                if file.endswith("tar"):
                    archive.add(tmp_path / "x", "twice.jpg")
                else:
                    with pytest.warns(UserWarning, match="Duplicate") if data == b"second" else nothing():
                        archive.write(tmp_path / "x", "twice.jpg")
        assert contents(open_archive(tmp_path / file)) == {"twice.jpg": b"second"}


class nothing:
    def __enter__(self): ...
    def __exit__(self, *_): ...


def test_links_in_a_tar_do_not_count(tmp_path):
    links = []
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        link = tarfile.TarInfo(f"link{kind!r}.jpg")
        link.type, link.linkname = kind, "/etc/passwd"
        links.append(link)
    assert set(contents(open_archive(tar_of(tmp_path / "files.tar", FILES, *links)))) == set(FILES)


def test_a_folder_with_links_ends_and_has_each_file_once(tmp_path):
    folder = folder_of(tmp_path / "folder", FILES)
    (folder / "loop").symlink_to(folder)
    (folder / "a/again").symlink_to(folder / "a/airfield")
    (folder / "linked.jpg").symlink_to(folder / "a/airfield/00000001.jpg")
    os.link(folder / "a/airfield/00000002.jpg", folder / "a/airfield/hard.jpg")
    (folder / "dangling.jpg").symlink_to(folder / "nowhere.jpg")
    outside = folder_of(tmp_path / "outside", {"b.jpg": b"b"})
    (folder / "further").symlink_to(outside)
    found = contents(open_archive(folder))
    assert sorted(found.values()) == sorted([*FILES.values(), b"b"])


def test_nothing_is_written_beside_the_data(tmp_path, cache):
    data = tmp_path / "data"
    data.mkdir()
    tar_of(data / "files.tar", FILES)
    before = {p: p.stat().st_mtime_ns for p in (data, *data.iterdir())}
    contents(open_archive(data / "files.tar"))
    assert {p: p.stat().st_mtime_ns for p in (data, *data.iterdir())} == before
    assert len(list(cache.rglob("*.npz"))) == 1


class TestCachedIndex:
    def test_spares_the_scan(self, tmp_path):
        """The headers are overwritten behind its back: a scan would not survive that."""
        path = tar_of(tmp_path / "files.tar", FILES)
        names, status = list(open_archive(path).names), path.stat()
        path.write_bytes(bytes(512) + path.read_bytes()[512:])
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert list(open_archive(path).names) == names

    def test_is_made_anew_for_another_tar_of_that_name(self, tmp_path):
        path = tar_of(tmp_path / "files.tar", FILES)
        open_archive(path)
        os.utime(tar_of(path, {"new.jpg": b"new"}), (1, 1))
        assert contents(open_archive(path)) == {"new.jpg": b"new"}

    @pytest.mark.parametrize("damage", [b"", b"garbage", None])
    def test_is_made_anew_where_it_is_damaged(self, damage, tmp_path, cache):
        path = tar_of(tmp_path / "files.tar", FILES)
        open_archive(path)
        (file,) = cache.rglob("*.npz")
        if damage is None:
            np.savez(file, names=np.zeros(3, np.uint8), offsets=np.zeros(9), sizes=np.zeros(9))
        else:
            file.write_bytes(damage)
        assert contents(open_archive(path)) == FILES

    def test_may_be_missing(self, tmp_path, monkeypatch):
        (tmp_path / "file").write_bytes(b"")
        monkeypatch.setenv("CMGAN_CACHE_DIR", str(tmp_path / "file"))
        assert contents(open_archive(tar_of(tmp_path / "files.tar", FILES))) == FILES


class TestRefused:
    def refusal(self, path):
        with pytest.raises(PictureError) as caught:
            open_archive(path)
        return caught.value.slug

    def test_nothing_there(self, tmp_path):
        assert self.refusal(tmp_path / "nothing") == "not_found"

    @pytest.mark.parametrize("share", [0.5, 0.97])
    def test_a_tar_that_is_cut(self, share, tmp_path):
        path = tar_of(tmp_path / "files.tar", jpegs(6, (300, 200)))
        end = path.read_bytes().rstrip(b"\0")
        path.write_bytes(end[: int(len(end) * share)])
        assert self.refusal(path) == "archive_truncated"

    def test_a_damaged_tar(self, tmp_path):
        path = tar_of(tmp_path / "files.tar", FILES)
        data = bytearray(path.read_bytes())
        second = 512 + -(-len(FILES[min(FILES)]) // 512) * 512
        data[second : second + 100] = b"\xff" * 100
        path.write_bytes(data)
        assert self.refusal(path) == "archive_truncated"

    @pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
    def test_a_compressed_tar(self, mode, tmp_path):
        with pytest.raises(PictureError, match="uncompress it") as caught:
            open_archive(tar_of(tmp_path / "files.tar", FILES, mode=mode))
        assert caught.value.slug == "archive_format"

    def test_a_zip_that_is_cut(self, tmp_path):
        path = zip_of(tmp_path / "files.zip", FILES)
        path.write_bytes(path.read_bytes()[:-200])
        assert self.refusal(path) == "archive_format"

    @pytest.mark.parametrize("data", [b"", b"text " * 500])
    def test_something_else(self, data, tmp_path):
        (tmp_path / "file.tar").write_bytes(data)
        assert self.refusal(tmp_path / "file.tar") == "archive_format"

    def test_a_pipe(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        assert self.refusal(tmp_path / "pipe") == "archive_format"


class TestRefusedWhenRead:
    def refusal(self, archive, limit=10**6):
        with pytest.raises(PictureError) as caught:
            archive.read(0, limit)
        assert archive.names[0].split("/")[-1] in str(caught.value)
        return caught.value.slug

    @pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
    def test_more_than_the_limit(self, kind, make):
        assert self.refusal(open_archive(make[kind]({"a.jpg": bytes(1001)})), 1000) == "file_too_large"

    def test_a_bomb_in_a_zip(self, make):
        """A megabyte that is a thousandth of that in the file."""
        archive = open_archive(make["deflated zip"]({"a.jpg": bytes(10**6)}))
        assert archive.path.stat().st_size < 2000
        assert self.refusal(archive, 10**5) == "file_too_large"

    @pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
    def test_an_empty_file(self, kind, make):
        assert self.refusal(open_archive(make[kind]({"a.jpg": b""}))) == "empty"

    def test_damage_within_a_zip(self, make):
        path = make["zip"]({"a.jpg": b"0123456789" * 10})
        archive = open_archive(path)
        path.write_bytes(path.read_bytes().replace(b"0123456789", b"0123456780", 1))
        assert self.refusal(archive) == "archive_damaged"

    def test_a_password(self, make):
        path = make["zip"]({"a.jpg": b"0123456789"})
        data = bytearray(path.read_bytes())
        for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            data[data.index(header) + flags] |= 1
        path.write_bytes(data)
        assert self.refusal(open_archive(path)) == "archive_damaged"

    def test_a_file_that_has_gone(self, make):
        archive = open_archive(make["folder"](FILES))
        (archive.path / archive.names[0]).unlink()
        assert self.refusal(archive) == "not_found"

    def test_a_tar_cut_since(self, make):
        archive = open_archive(make["tar"](FILES))
        os.truncate(archive.path, 600)
        assert self.refusal(archive) == "archive_truncated"
