"""Packages of native code: everything that is refused before a byte of them is loaded."""

from __future__ import annotations

import io
import json
import platform
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cmgan.errors import MissingError, ModelError
from cmgan.runtime.aoti import built_for, check_built_for, check_package, cpu_instructions
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.metadata import Metadata
from cmgan.runtime.open import open_engine
from cmgan.runtime.sidecar import sidecar_of, write_sidecar

HERE = built_for("cpu")
LIBRARY = "model/data/aotinductor/model/kernel.wrapper.so"
MEMBERS = {"model/archive_format": b"pt2", "model/archive_version": b"0", LIBRARY: b"no code at all"}


def _package(members: dict[str, bytes] = MEMBERS, compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def _metadata(**details) -> Metadata:
    return replace(Metadata.assumed(64, 64, "full"), format="aoti", name="tiny-64", details=HERE | details)


def _write(folder: Path, data: bytes, metadata: Metadata) -> Path:
    path = folder / "model.pt2"
    path.write_bytes(data)
    write_sidecar(path, metadata, (path,))
    return path


def test_a_sound_package_passes():
    check_package(_package())


@pytest.mark.parametrize(
    "members",
    [
        {**MEMBERS, "model/../../evil.so": b""},
        {**MEMBERS, "../evil": b""},
        {**MEMBERS, "/etc/evil": b""},
        {**MEMBERS, "model/data/aotinductor/model/..": b""},
        {**MEMBERS, "model/data/aotinductor/model/a/b.so": b""},
        {**MEMBERS, "model/data/constants/model.pt": b"a pickle"},
        {**MEMBERS, "model/models/model.json": b"a program"},
        {**MEMBERS, LIBRARY.replace("kernel", "second"): b""},
        {**MEMBERS, "other/byteorder": b"little"},
        {"model/archive_format": b"pt2"},
        {},
    ],
)
def test_other_members_are_refused(members):
    with pytest.raises(ModelError, match="export it again"):
        check_package(_package(members))


def test_packed_members_are_refused():
    with pytest.raises(ModelError, match="which no export writes"):
        check_package(_package(compression=zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04", b"plain text", _package()[:-30], _package()[: len(_package()) // 2]]
)
def test_what_is_no_archive_is_refused(data, tmp_path):
    with pytest.raises(ModelError, match="no AOTInductor package") as caught:
        open_engine(_write(tmp_path, data, _metadata()))
    assert caught.value.exit_code == 4 and str(caught.value.file).endswith("model.pt2")


def test_native_code_that_was_changed_is_refused(tmp_path):
    path = _write(tmp_path, _package(), _metadata())
    data = path.read_bytes()
    for position in range(0, len(data), 7):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(ModelError, match="not the file that was exported"):
            open_engine(path)


@pytest.mark.parametrize(
    ("details", "slug", "reason"),
    [
        ({"torch": "1.2.3"}, "aoti_incompatible", f"torch 1.2.3, and here is {HERE['torch']}"),
        ({"platform": "win32 AMD64"}, "aoti_incompatible", "platform win32 AMD64"),
        ({"capability": "sm_90"}, "aoti_incompatible", "capability sm_90, and here is None"),
        ({"instructions": [*HERE["instructions"], "avx2048"]}, "instruction_set", "does not have .avx2048."),
        ({"instructions": None}, "sidecar", "does not say what it was compiled for"),
    ],
)
def test_another_machine_is_told_how_to_rebuild(details, slug, reason, tmp_path):
    with pytest.raises(ModelError, match=reason) as caught:
        open_engine(_write(tmp_path, _package(), _metadata(**details)))
    assert (caught.value.slug, caught.value.exit_code) == (slug, 4)
    if slug != "sidecar":
        assert "cmgan export --format aoti --model tiny-64" in caught.value.line()


def test_fewer_instructions_than_here_are_no_obstacle():
    check_built_for(_metadata(instructions=HERE["instructions"][:1]))


@pytest.mark.parametrize("device", ["cuda", "cpu:x", "cpu:-1"])
def test_another_device_than_it_was_compiled_for(tmp_path, device):
    with pytest.raises(MissingError, match="was compiled for cpu"):
        open_engine(_write(tmp_path, _package(), _metadata()), EngineOptions(device=device))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_package_for_a_device_that_is_not_here(tmp_path):
    with pytest.raises(MissingError, match="cuda, which is not here"):
        open_engine(_write(tmp_path, _package(), _metadata(device="cuda")), EngineOptions(device="cuda"))


def test_what_pytorch_refuses_is_a_bad_model(tmp_path):
    with pytest.raises(ModelError, match="PyTorch cannot load it"):
        open_engine(_write(tmp_path, _package(), _metadata()))


def test_without_a_sidecar(tmp_path):
    path = _write(tmp_path, _package(), _metadata())
    sidecar_of(path).unlink()
    with pytest.raises(ModelError, match="copy that file too"):
        open_engine(path)


def test_built_for_names_this_machine():
    assert HERE["torch"] == torch.__version__.split("+")[0]
    assert HERE["platform"] == f"{sys.platform} {platform.machine()}"
    assert json.loads(json.dumps(HERE)) == HERE


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("processor\t: 0\nflags\t\t: fpu sse2 avx512_bf16 amx_bf16 nx clzero\n", {"sse2", "avx512_bf16", "amx_bf16"}),
        ("processor\t: 0\nFeatures\t: fp asimd sve bf16 crc32\n", {"asimd", "sve", "bf16"}),
        ("nothing of the kind\n", set()),
    ],
)
def test_instructions_are_those_a_compiler_may_use(text, found, tmp_path):
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu_instructions(tmp_path / "cpuinfo") == found
    assert cpu_instructions(tmp_path / "missing") == set()
