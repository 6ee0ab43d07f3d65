"""`cmgan init`, `export`, `check`, `info`, `doctor`: models on disk, and what is refused of them."""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys

import pytest

import cmgan


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from cmgan.cli.main import run

    path = tmp_path_factory.mktemp("models") / "tiny"
    assert run(["init", str(path), "--preset", "tiny-64", "--seed", "3"]) == 0
    return path


@pytest.fixture
def copied(folder, tmp_path):
    """A copy of the model folder that a test may spoil."""
    import shutil

    return shutil.copytree(folder, tmp_path / "model")


@pytest.mark.check
def test_a_folder_is_exported_and_checked(call, folder, tmp_path):
    ending = call("export", "--model", folder, "-o", tmp_path / "out", "--json", "-")
    assert ending.code == 0, ending
    report = json.loads(ending.out)  # and nothing else
    assert report["verdict"]["values"] == "passed"
    assert call("check", tmp_path / "out/model.onnx").code == 0
    info = call("info", tmp_path / "out/model.onnx", "--json", tmp_path / "info.json")
    assert info.code == 0
    metadata = json.loads((tmp_path / "info.json").read_text())["metadata"]
    network = call("info", folder, "--json", tmp_path / "network.json")
    assert network.code == 0
    assert metadata["weights_sha256"] == json.loads((tmp_path / "network.json").read_text())["weights_sha256"]


def test_export_over_a_file(refused, folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/model.onnx").write_bytes(b"precious")
    assert refused(2, "export", "--model", folder, "-o", tmp_path / "out").slug == "output_exists"


def test_presets_and_doctor(call):
    ending = call("info")
    assert ending.code == 0 and all(name in ending.out for name in ("paper-512", "photos-256", "null"))
    ending = call("doctor", "--json", "-")
    assert ending.code == 0 and "pip install 'cmgan[gpu]'" in ending.out


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help(call, arguments):
    ending = call(*arguments)
    assert ending.code == 0 and "inpaint" in ending.out and ending.err == ""


def test_help_of_a_command(call):
    assert call("inpaint", "-h").out == call("inpaint", "--help").out


def test_it_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "cmgan", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"cmgan {cmgan.__version__}\n")


def test_version(call):
    ending = call("--version")
    assert ending.code == 0 and ending.out.strip() == f"cmgan {cmgan.__version__}"


@pytest.mark.parametrize("command", ["inpaint", "export", "lower", "check", "bench", "init", "info", "doctor"])
def test_every_command_explains_itself(call, command):
    ending = call(command, "--help")
    assert ending.code == 0
    assert command == "doctor" or f"cmgan {command}" in ending.out, "an example"


def test_quiet_and_verbose(call, folder, tmp_path):
    assert call("-q", "info", folder).out == ""
    assert call("info", folder, "--quiet").out == ""


def _header(folder, text: bytes, length: int | None = None) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text) if length is None else length) + text)
    _sign(folder)


def _sign(folder) -> None:
    """Make the manifest agree with what the folder now holds."""
    from cmgan.files import sha256

    manifest = json.loads((folder / "manifest.json").read_text())
    for name in manifest["files"]:
        data = (folder / name).read_bytes()
        manifest["files"][name] = {"size": len(data), "sha256": sha256(data)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _cut(folder) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    _sign(folder)


def _flip(folder) -> None:
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-5] ^= 1
    (folder / "model.safetensors").write_bytes(data)


def _after_the_end(folder) -> None:
    with open(folder / "model.safetensors", "ab") as file:
        file.write(b"more")
    _sign(folder)


SPOILT = {
    "a flipped bit": _flip,
    "cut at half": _cut,
    "bytes after the end": _after_the_end,
    "empty": lambda f: ((f / "model.safetensors").write_bytes(b""), _sign(f)),
    "a web page": lambda f: ((f / "model.safetensors").write_bytes(b"<!DOCTYPE html>"), _sign(f)),
    "a pointer": lambda f: ((f / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/"), _sign(f)),
    "a huge header": lambda f: _header(f, b"{}", 2**40),
    "a long header": lambda f: _header(f, b" " * 5_000_000),
    "no tensors": lambda f: _header(f, b"{}"),
    "doubled keys": lambda f: _header(f, b'{"a":{"dtype":"F32","shape":[],"data_offsets":[0,0]},"a":1}'),
    "integer weights": lambda f: _header(f, b'{"a":{"dtype":"I64","shape":[0],"data_offsets":[0,0]}}'),
    "no manifest": lambda f: (f / "manifest.json").unlink(),
    "no configuration": lambda f: (f / "config.json").unlink(),
    "another configuration": lambda f: (
        (f / "config.json").write_text((f / "config.json").read_text().replace("1024", "2048")),
        _sign(f),
    ),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_a_spoilt_model_is_refused_in_one_line(refused, copied, tmp_path, spoil):
    spoil(copied)
    refused(4, "export", "--model", copied, "-o", tmp_path / "out")


class _Evil:
    def __init__(self, marker) -> None:
        self.marker = str(marker)

    def __reduce__(self):
        import os

        return os.mkdir, (self.marker,)


@pytest.mark.parametrize("name", ["model.pt", "model.pkl", "model.safetensors", "model.onnx"])
def test_a_pickle_is_never_opened(refused, photo, mask, tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps(_Evil(tmp_path / "marker")))
    refused(4, "inpaint", photo, mask, "--model", tmp_path / name)
    assert not (tmp_path / "marker").exists()
