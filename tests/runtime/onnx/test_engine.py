"""Opening exported files: what runs, and what is refused before any runtime sees it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from cmgan.errors import MissingError, ModelError, UsageError
from cmgan.export.gate.cases import parity_cases, stacked
from cmgan.export.gate.tolerances import TOLERANCES
from cmgan.export.targets.onnx import save_onnx
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.metadata import SCHEMA, Metadata
from cmgan.runtime.onnx.file import load_onnx
from cmgan.runtime.open import open_engine


@pytest.fixture(scope="module")
def batch():
    return stacked(parity_cases(64, 64)[:2])


@pytest.fixture(scope="module")
def painted(tiny_artefact, batch):
    return open_engine(tiny_artefact)(*batch)


def _changed(source: Path, target: Path, change) -> Path:
    model = onnx.load(source)
    change(model)
    target.write_bytes(model.SerializeToString())
    return target


def _property(model: onnx.ModelProto, key: str, value: str) -> None:
    entry = next(p for p in model.metadata_props if p.key == f"cmgan.{key}")
    entry.value = value


def test_info(tiny_artefact):
    info = open_engine(tiny_artefact).info
    assert (info.format, info.name, info.resolution, info.z_dim) == ("onnx", "tiny-64", 64, 64)
    assert info.precision == "fp32" and not info.trained and len(info.weights_sha256) == 64


def test_eager_and_exported_engine_agree(painted, batch):
    eager = open_engine("tiny-64")(*batch)
    assert np.abs(eager.astype(int) - painted).max() <= TOLERANCES["fp32"].levels
    assert eager.dtype == painted.dtype and eager.shape == painted.shape


@pytest.mark.parametrize("options", [EngineOptions(threads=1), EngineOptions(threads=2), EngineOptions(device="cpu")])
def test_options_do_not_change_the_picture(tiny_artefact, batch, painted, options):
    output = open_engine(tiny_artefact, options)(*batch)
    assert np.abs(output.astype(int) - painted).max() <= TOLERANCES["fp32"].levels


def test_threads_share_an_engine(tiny_artefact, batch, painted):
    engine = open_engine(tiny_artefact)
    with ThreadPoolExecutor(16) as pool:
        for output in pool.map(lambda _: engine(*batch), range(32)):
            np.testing.assert_array_equal(output, painted)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("image", lambda i, m, z: (i.astype(np.float32), m, z)),
        ("image", lambda i, m, z: (i[:, :32], m, z)),
        ("mask", lambda i, m, z: (i, m[:1], z)),
        ("mask", lambda i, m, z: (i, m >= 128, z)),
        ("z", lambda i, m, z: (i, m, z.astype(np.float64))),
        ("z", lambda i, m, z: (i, m, z[:, :8])),
    ],
)
def test_wrong_arrays_are_named(tiny_artefact, batch, name, spoil):
    with pytest.raises(ValueError, match=f"^{name} is"):
        open_engine(tiny_artefact)(*spoil(*batch))


def test_the_file_may_go_once_it_is_open(tiny_artefact, tmp_path, batch, painted):
    copy = tmp_path / "model.onnx"
    copy.write_bytes(tiny_artefact.read_bytes())
    engine = open_engine(copy)
    copy.write_bytes(b"something else")
    np.testing.assert_array_equal(engine(*batch), painted)


def test_external_data_is_taken_from_memory(tiny_artefact, tmp_path, batch, painted):
    """As for weights beyond the 2 GiB of one protobuf message."""
    save_onnx(onnx.load(tiny_artefact), tmp_path / "model.onnx", limit=1000)
    assert (tmp_path / "model.onnx").stat().st_size < tiny_artefact.stat().st_size / 2
    onnx.checker.check_model(str(tmp_path / "model.onnx"))
    engine = open_engine(tmp_path / "model.onnx")
    (tmp_path / "model.onnx.data").write_bytes(b"")
    np.testing.assert_array_equal(engine(*batch), painted)


def test_a_missing_device(tiny_artefact):
    for device in ("cuda", "cuda:7", "npu", "cuda:x"):
        with pytest.raises(MissingError, match="device"):
            open_engine(tiny_artefact, EngineOptions(device=device))


def test_no_such_model(tmp_path):
    with pytest.raises(UsageError, match="small-512"):
        open_engine(tmp_path / "nothing")
    with pytest.raises(ModelError, match="no such file"):
        open_engine(tmp_path / "nothing.onnx")


@pytest.mark.parametrize("data", [b"", b"plain text", b"<!DOCTYPE html><html></html>", b"\x00\x01\x02"])
def test_what_is_no_onnx_file(tmp_path, data):
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(ModelError):
        open_engine(tmp_path / "model.onnx")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_half_a_file(tiny_artefact, tmp_path, share):
    data = tiny_artefact.read_bytes()
    (tmp_path / "model.onnx").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelError):
        open_engine(tmp_path / "model.onnx")


def test_a_newer_schema_names_both(tiny_artefact, tmp_path):
    path = _changed(tiny_artefact, tmp_path / "model.onnx", lambda m: _property(m, "schema", "7"))
    with pytest.raises(ModelError, match=f"schema 7; this cmgan reads up to {SCHEMA}"):
        open_engine(path)


def test_metadata_that_lie_about_the_graph(tiny_artefact, tmp_path):
    path = _changed(tiny_artefact, tmp_path / "model.onnx", lambda m: _property(m, "resolution", "128"))
    with pytest.raises(ModelError, match=r"image uint8 \(N, 64, 64, 3\).*\(N, 128, 128, 3\)"):
        open_engine(path)


def test_metadata_with_a_hole(tiny_artefact, tmp_path):
    def drop(model):
        entry = next(p for p in model.metadata_props if p.key == "cmgan.z_dim")
        model.metadata_props.remove(entry)

    with pytest.raises(ModelError, match="z_dim"):
        open_engine(_changed(tiny_artefact, tmp_path / "model.onnx", drop))


def test_a_file_of_our_shape_that_says_nothing_is_run_and_said_to_be_foreign(
    tiny_artefact, tmp_path, batch, painted, caplog
):
    path = _changed(tiny_artefact, tmp_path / "model.onnx", lambda m: m.ClearField("metadata_props"))
    np.testing.assert_array_equal(open_engine(path)(*batch), painted)
    assert "not exported by cmgan: taken for a full graph of cmgan's, not proven" in caplog.text


def test_our_names_with_free_sizes_are_not_run_at_size_0(tiny_artefact, tmp_path):
    def free(model):
        model.ClearField("metadata_props")
        for value in [*model.graph.input, *model.graph.output]:
            for index, dim in enumerate(value.type.tensor_type.shape.dim):
                dim.dim_param = f"d{index}"

    with pytest.raises(ModelError, match=r"image uint8 \(d0, d1, d2, d3\), mask uint8 \(d0, d1, d2\)"):
        open_engine(_changed(tiny_artefact, tmp_path / "model.onnx", free))


def _custom_operator(model):
    model.graph.node[0].domain = "com.example"


def _engine_context(model):
    model.graph.node[0].domain, model.graph.node[0].op_type = "com.microsoft", "EPContext"


def _local_function(model):
    function = helper.make_function("local", "Twice", ["x"], ["y"], [helper.make_node("Add", ["x", "x"], ["y"])], [])
    model.functions.append(function)


@pytest.mark.parametrize("change", [_custom_operator, _engine_context, _local_function])
def test_what_cmgan_never_exports(tiny_artefact, tmp_path, change):
    with pytest.raises(ModelError):
        open_engine(_changed(tiny_artefact, tmp_path / "model.onnx", change))


def test_metadata_survive_the_round_trip(tiny_artefact):
    strings = {p.key: p.value for p in load_onnx(tiny_artefact).metadata_props}
    assert Metadata.from_strings(strings).to_strings() == strings
