"""Caches that native code parses: what was stored comes back whole, and nothing else does."""

from __future__ import annotations

import os

import pytest

from cmgan.runtime.tensorrt.kernel_cache import read_cache, write_cache


def _warned(caplog) -> list[str]:
    return [record.slug for record in caplog.records if record.name == "cmgan"]


def test_what_was_stored_comes_back(tmp_path, caplog):
    path = tmp_path / "a" / "b" / "kernels"
    for body in (b"\n kernels \0" * 100, b""):
        write_cache(path, body)
        assert read_cache(path) == body
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert _warned(caplog) == []


def test_no_cache_is_no_reason_to_warn(tmp_path, caplog):
    assert read_cache(tmp_path / "kernels") == b""
    assert _warned(caplog) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data + b"x",
        lambda data: os.urandom(len(data)),
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data.partition(b"\n")[2],
    ],
)
def test_a_damaged_one_is_left_with_one_warning(tmp_path, caplog, spoil):
    path = tmp_path / "kernels"
    write_cache(path, b"kernels" * 100)
    path.write_bytes(spoil(path.read_bytes()))
    assert read_cache(path) == b""
    assert _warned(caplog) == ["cache"]
    write_cache(path, b"new")
    assert read_cache(path) == b"new"


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path, caplog):
    (tmp_path / "file").write_bytes(b"")
    write_cache(tmp_path / "file" / "kernels", b"kernels")
    assert _warned(caplog) == ["cache"]
