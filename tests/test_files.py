"""What is replaced keeps its permissions, and a link is written through."""

import os
import stat
from contextlib import contextmanager

import pytest

from cmgan.errors import SystemRefusal, UsageError
from cmgan.files import atomic_files, atomic_folder, atomic_path, check_target, write_atomically, write_with


@contextmanager
def umask(value):
    old = os.umask(value)
    try:
        yield
    finally:
        os.umask(old)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


class TestPermissions:
    @pytest.mark.parametrize("kept", [0o600, 0o640, 0o444, 0o666, 0o755])
    def test_a_replaced_file_keeps_its_own(self, kept, tmp_path):
        target = tmp_path / "a"
        target.write_text("old")
        target.chmod(kept)
        with umask(0o022):
            write_atomically(target, b"new")
            assert mode(target) == kept and target.read_bytes() == b"new"
            with atomic_files(tmp_path) as work:
                (work / "a").write_text("newer")
            assert mode(target) == kept and target.read_text() == "newer"

    @pytest.mark.parametrize(
        ("most", "mask", "expected"), [(0o666, 0o022, 0o644), (0o600, 0o022, 0o600), (0o660, 0o027, 0o640)]
    )
    def test_a_new_file_has_what_the_umask_leaves_of_the_most(self, most, mask, expected, tmp_path):
        with umask(mask):
            write_with(tmp_path / "a", lambda path: path.write_bytes(b"x"), most=most)
        assert mode(tmp_path / "a") == expected

    def test_nobody_else_reads_it_while_it_is_written(self, tmp_path):
        with umask(0), atomic_path(tmp_path / "a") as temporary:
            temporary.write_text("half")
            assert mode(temporary) == 0o600

    def test_a_replaced_folder_keeps_its_own(self, tmp_path):
        target = tmp_path / "folder"
        target.mkdir()
        target.chmod(0o750)
        with umask(0o022):
            with atomic_folder(target, overwrite=True) as work:
                (work / "a").write_text("a")
            with atomic_folder(tmp_path / "new", overwrite=False) as work:
                pass
        assert mode(target) == 0o750 and mode(tmp_path / "new") == 0o755
        assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "new"]


class TestLinks:
    @pytest.mark.parametrize("there", [True, False])
    def test_are_written_through(self, there, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "here").mkdir()
        target, link = tmp_path / "elsewhere" / "file", tmp_path / "here" / "link"
        link.symlink_to("../elsewhere/file")
        if there:
            target.write_text("old")
            with pytest.raises(UsageError) as caught:
                check_target(link, overwrite=False)
            assert caught.value.slug == "output_exists"
        check_target(link, overwrite=there)
        write_atomically(link, b"new")
        assert link.is_symlink() and target.read_bytes() == b"new"
        with atomic_files(tmp_path / "here") as work:
            (work / "link").write_text("newer")
        assert link.is_symlink() and target.read_text() == "newer" and len(list(target.parent.iterdir())) == 1

    def test_to_a_folder_are_written_through(self, tmp_path):
        (tmp_path / "link").symlink_to("folder")
        for number in range(2):
            with atomic_folder(tmp_path / "link", overwrite=number > 0) as work:
                (work / str(number)).write_text("")
        assert (tmp_path / "link").is_symlink() and [p.name for p in (tmp_path / "folder").iterdir()] == ["1"]

    def test_into_nowhere_and_in_a_circle_are_refused(self, tmp_path):
        (tmp_path / "dangling").symlink_to(tmp_path / "none" / "file")
        with pytest.raises(UsageError) as caught:
            check_target(tmp_path / "dangling", overwrite=True)
        assert caught.value.slug == "output_folder"
        with pytest.raises(SystemRefusal):
            write_atomically(tmp_path / "dangling", b"")
        (tmp_path / "circle").symlink_to("circle")
        for refused in (
            lambda: check_target(tmp_path / "circle", overwrite=True),
            lambda: write_atomically(tmp_path / "circle", b""),
        ):
            with pytest.raises(UsageError) as caught:
                refused()
            assert caught.value.slug == "output_link"


def test_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError) as caught:
        write_atomically(tmp_path / "pipe", b"")
    assert caught.value.slug == "output_kind" and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
