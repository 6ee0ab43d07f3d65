"""The metadata beside an artefact: what is read back, and what is refused before a runtime sees the file."""

import json

import pytest

from cmgan.errors import ModelError
from cmgan.runtime.metadata import Metadata
from cmgan.runtime.sidecar import read_sidecar, sidecar_of, write_sidecar


@pytest.fixture
def artefact(tmp_path):
    file, weights = tmp_path / "model.xml", tmp_path / "model.bin"
    file.write_bytes(bytes(range(256)))
    weights.write_bytes(b"weights")
    write_sidecar(file, Metadata.assumed(64, 64, "full"), (weights, file))
    return file


def test_what_was_written_comes_back(artefact):
    metadata, files = read_sidecar(artefact)
    assert metadata == Metadata.assumed(64, 64, "full")
    assert files == {"model.bin": b"weights", "model.xml": bytes(range(256))}


def test_every_flipped_byte_is_noticed(artefact):
    data = artefact.read_bytes()
    for position in range(len(data)):
        artefact.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(ModelError, match="not the file that was exported"):
            read_sidecar(artefact)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda file: sidecar_of(file).unlink(), "copy that file too"),
        (lambda file: file.with_suffix(".bin").unlink(), "no such file"),
        (lambda file: file.with_suffix(".bin").write_bytes(b"weight"), "not the file that was exported"),
        (lambda file: sidecar_of(file).write_text(""), "no metadata file"),
        (lambda file: sidecar_of(file).write_text("[" * 100_000), "no metadata file"),
        (lambda file: sidecar_of(file).write_text('{"files": {"a": "b"}}'), "not exported by cmgan"),
        (lambda file: _change(file, schema=2), "install a newer one"),
        (lambda file: _change(file, files={"../model.xml": "", "model.xml": ""}), "describes"),
        (lambda file: _change(file, files={"other.xml": ""}), "describes other.xml"),
    ],
)
def test_refusals(artefact, spoil, reason):
    spoil(artefact)
    with pytest.raises(ModelError, match=reason):
        read_sidecar(artefact)


def _change(file, **values):
    path = sidecar_of(file)
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
