"""The model folder: what is written, what is read back, and everything that is refused."""

import hashlib
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from cmgan.config import PRESETS
from cmgan.errors import ModelError, NumbersError, UsageError
from cmgan.model import weights
from cmgan.model.initialise import seeded_generator
from cmgan.model.weights import load_generator, resolve, save_generator, weights_digest

TINY = PRESETS["tiny-64"]


@pytest.fixture(scope="module")
def tiny():
    return seeded_generator(TINY)


@pytest.fixture
def folder(tiny, tmp_path) -> Path:
    save_generator(tiny, tmp_path / "model", trained=True, licence="CC0-1.0")
    return tmp_path / "model"


def sealed(folder: Path) -> Path:
    """Write the manifest anew, as an attacker or another program would: every file has the digest that it has."""
    files = {
        path.name: {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in folder.iterdir()
        if path.name != "manifest.json"
    }
    (folder / "manifest.json").write_text(json.dumps({"cmgan.schema": 1, "files": files}))
    return folder


def refused(folder: Path, slug: str, *words: str) -> None:
    """`folder` is refused as a model with `slug` in one printable line that has all the words."""
    with pytest.raises(ModelError) as caught:
        load_generator(folder)
    line = caught.value.line()
    assert caught.value.slug == slug, line
    assert all(word in line for word in words), line
    assert caught.value.exit_code == 4 and line.isascii() and line.isprintable() and "weights_only" not in line


def raw_file(header: dict | bytes, payload: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + payload


def with_weights(folder: Path, data: bytes) -> Path:
    (folder / "model.safetensors").write_bytes(data)
    return sealed(folder)


def changed_state(folder: Path, change) -> Path:
    """Rewrite the weights after `change(state)`."""
    state = safetensors.torch.load_file(folder / "model.safetensors")
    change(state)
    return with_weights(folder, safetensors.torch.save(state))


# -- round trip ------------------------------------------------------------------------------------------------------


def test_round_trip(tiny, folder):
    loaded = load_generator(folder)
    assert loaded.trained and loaded.licence == "CC0-1.0" and loaded.generator.config == TINY
    assert loaded.digest == weights_digest(tiny) == weights_digest(loaded.generator)
    expected = tiny.state_dict()
    for name, tensor in loaded.generator.state_dict().items():
        assert tensor.equal(expected[name]) and tensor.dtype == torch.float32, name
    assert not loaded.generator.training and all(p.requires_grad for p in loaded.generator.parameters())
    manifest = json.loads((folder / "manifest.json").read_text())
    assert set(manifest["files"]) == {"config.json", "model.safetensors"} and manifest["cmgan.version"]


def test_plain_safetensors_reads_the_file(tiny, folder):
    state = safetensors.numpy.load_file(folder / "model.safetensors")
    assert set(state) == set(tiny.state_dict())
    np.testing.assert_array_equal(state["style.weight"], tiny.style.weight.detach())


def test_shards(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SHARD_LIMIT", 400_000)
    save_generator(tiny, tmp_path / "m", trained=False, licence="x")
    shards = sorted(path for path in (tmp_path / "m").iterdir() if path.suffix == ".safetensors")
    assert len(shards) > 2 and shards[0].name == f"model-00001-of-{len(shards):05}.safetensors"
    for shard in shards:
        assert shard.stat().st_size <= 400_000 or len(safetensors.torch.load_file(shard)) == 1
    assert load_generator(tmp_path / "m").digest == weights_digest(tiny)
    shards[1].unlink()
    refused(tmp_path / "m", "not_found", shards[1].name)


def test_loading_draws_nothing(folder):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    load_generator(folder)
    assert torch.get_rng_state().equal(state)


def test_files_may_change_after_loading(folder):
    loaded = load_generator(folder)
    for path in folder.iterdir():
        path.write_bytes(b"")
    assert weights_digest(loaded.generator) == loaded.digest


def test_an_existing_folder_is_kept_unless_it_may_be_replaced(tiny, folder):
    before = (folder / "config.json").read_bytes()
    with pytest.raises(UsageError) as caught:
        save_generator(tiny, folder, trained=False, licence="other")
    assert caught.value.slug == "output_exists" and (folder / "config.json").read_bytes() == before
    save_generator(tiny, folder, trained=False, licence="other", overwrite=True)
    assert load_generator(folder).licence == "other"
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    generator = seeded_generator(TINY)
    with torch.no_grad():
        generator.style.weight[3, 4] = float("nan")
    with pytest.raises(NumbersError, match=r"style\.weight"):
        save_generator(generator, tmp_path / "m", trained=True, licence="x")
    assert list(tmp_path.iterdir()) == []


def test_digest_sees_names_shapes_types_and_bytes(tiny):
    class Fake:
        def __init__(self, **state):
            self.state = state

        def state_dict(self):
            return self.state

    zeros = torch.zeros(2, 3)
    variants = [
        Fake(a=zeros),
        Fake(b=zeros),
        Fake(a=zeros.T),
        Fake(a=zeros.to(torch.int32)),
        Fake(a=-zeros),
        Fake(a=zeros, b=zeros),
        Fake(b=zeros, a=zeros),
    ]
    assert len({weights_digest(variant) for variant in variants}) == len(variants)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_used_as_float32(tiny, folder, dtype, caplog):
    caplog.set_level("INFO", "cmgan")
    changed_state(folder, lambda state: state.update({name: t.to(dtype) for name, t in state.items()}))
    expected = tiny.state_dict()
    for name, tensor in load_generator(folder).generator.state_dict().items():
        assert tensor.dtype == torch.float32 and tensor.equal(expected[name].to(dtype).float()), name
    assert str(dtype) in caplog.text


# -- what a user may name --------------------------------------------------------------------------------------------


def test_resolve(tiny, folder):
    named = resolve("tiny-64")
    assert not named.trained and named.digest == weights_digest(tiny)
    assert resolve(str(folder)).trained


def test_resolve_refuses_what_is_neither(tmp_path):
    with pytest.raises(UsageError, match="small-512") as caught:
        resolve(str(tmp_path / "nothing"))
    assert caught.value.slug == "model"


@pytest.mark.parametrize("name", ["model.pt", "network.pkl"])
@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_are_refused_unopened(tmp_path, name, zipped):
    marker, path = tmp_path / "marker", tmp_path / name

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {marker}",)

    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(Evil()))
    else:
        path.write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(ModelError) as caught:
        resolve(str(path))
    assert caught.value.slug == "pickle" and "weights_only" not in caught.value.line() and not marker.exists()


def test_a_single_file_is_no_model(folder):
    with pytest.raises(ModelError, match="folder") as caught:
        resolve(str(folder / "model.safetensors"))
    assert caught.value.slug == "not_a_model"


# -- what is refused -------------------------------------------------------------------------------------------------


def test_files_of_the_wrong_kind(folder):
    kinds = {
        "empty_file": b"",
        "web_page": b"\n<!DOCTYPE html><html><body>Sign in</body></html>",
        "lfs_pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1909096\n",
        "pickle": pickle.dumps({"a": 1}),
        "cut_off": b"abc",
    }
    for slug, data in kinds.items():
        refused(with_weights(folder, data), slug, "model.safetensors")


@pytest.mark.parametrize("length", [640, 896, 1152, 1408])  # their first two bytes are those of a pickle
def test_a_header_length_is_no_pickle(folder, length):
    text = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode().ljust(length)
    refused(with_weights(folder, raw_file(text, bytes(4))), "other_network")


def test_half_a_download_is_named_before_the_digest(folder):
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    refused(folder, "size_differs", str(len(data)), str(len(data) // 2), "part")
    refused(sealed(folder), "damaged")  # the header is whole


def test_one_flipped_byte_is_found(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    before = hashlib.sha256(data).hexdigest()
    data[-100] ^= 1
    path.write_bytes(data)
    refused(folder, "digest_differs", before[:12], hashlib.sha256(data).hexdigest()[:12])


def entry(start=0, end=4, dtype="F32", shape=(1,)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("data", "slug"),
    [
        (struct.pack("<Q", 2**40) + b"{}", "header_too_large"),
        (raw_file(b"{}".ljust(5_000_000)), "header_too_large"),
        (raw_file({f"{i}": entry() for i in range(10_001)}), "too_many_tensors"),
        (raw_file({f"{i}": entry() for i in range(100_000)}), "header_too_large"),
        (raw_file(b"not json"), "not_json"),
        (raw_file(b"[]"), "not_json"),
        (raw_file(b"[" * 100_000), "not_json"),
        (raw_file(b"\xff\xfe\xfa"), "not_json"),
        (raw_file(b'{"a": {"dtype": "F32"}, "a": {}}'), "doubled_key"),
        (raw_file(b'{"a": {"dtype": "F32", "dtype": "F16", "shape": [], "data_offsets": [0, 4]}}'), "doubled_key"),
        (raw_file({"a": 3}), "damaged"),
        (raw_file({"a": {"dtype": "F32"}}), "damaged"),
        (raw_file({"a": entry(dtype="I64", end=8)}, bytes(8)), "dtype"),
        (raw_file({"a": entry(dtype="F99")}, bytes(4)), "dtype"),
        (raw_file({"a": entry(dtype=["F32"])}, bytes(4)), "dtype"),
        (raw_file({"\u001b[31m\u202e": entry()}, bytes(4)), "other_network"),
    ],
)
def test_headers(folder, data, slug):
    refused(with_weights(folder, data), slug)


@pytest.mark.parametrize("fault", ["overlap", "hole", "left over", "short", "overflow", "negative", "not numbers"])
def test_offsets_that_do_not_fit(folder, fault):
    data = (folder / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header, payload = json.loads(data[8 : 8 + length]), data[8 + length :]
    first, second = sorted(
        (name for name in header if name != "__metadata__"), key=lambda n: header[n]["data_offsets"]
    )[:2]
    match fault:
        case "overlap":
            header[second]["data_offsets"] = header[first]["data_offsets"]
        case "hole":
            for name in header.keys() - {"__metadata__", first}:
                header[name]["data_offsets"] = [offset + 4 for offset in header[name]["data_offsets"]]
            payload += bytes(4)
        case "left over":
            payload += b"PK\x03\x04"
        case "short":
            payload = payload[:-4]
        case "overflow":
            header[first]["data_offsets"] = [0, 2**64 + 4]
        case "negative":
            header[first]["data_offsets"] = [-4, 0]
        case "not numbers":
            header[first]["data_offsets"] = "all"
    refused(with_weights(folder, raw_file(header, payload)), "damaged")


def test_a_shape_whose_product_overflows(folder):
    data = (folder / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    header["style.weight"]["shape"] = [2**40, 2**40]
    refused(with_weights(folder, raw_file(header, data[8 + length :])), "other_shape", "style.weight", str(2**40))


def test_another_network(folder):
    state = {f"features.{i}.weight": torch.zeros(2) for i in range(5)}
    count = len(safetensors.torch.load_file(folder / "model.safetensors"))
    refused(with_weights(folder, safetensors.torch.save(state)), "other_network", f"{count} tensors", "5 are unknown")


def test_missing_and_unknown_tensors_are_counted_and_named(folder):
    def change(state):
        del state["style.bias"], state["style.weight"]
        state["odd"] = torch.zeros(1)

    refused(
        changed_state(folder, change), "other_network", "2 tensors", "1 are unknown", "style.bias, style.weight, odd"
    )


def test_a_transposed_tensor(folder):
    def change(state):
        state["style.weight"] = state["style.weight"].T.contiguous()

    refused(changed_state(folder, change), "other_shape", "style.weight is [512, 64], [64, 512] is needed")


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_weight_that_is_not_finite(folder, value):
    refused(
        changed_state(folder, lambda state: state["start_global.bias"].fill_(value)),
        "weights_non_finite",
        "start_global.bias",
    )


def test_a_tensor_in_two_files(folder):
    state = {"style.bias": safetensors.torch.load_file(folder / "model.safetensors")["style.bias"]}
    (folder / "more.safetensors").write_bytes(safetensors.torch.save(state))
    refused(sealed(folder), "doubled_tensor", "style.bias")


@pytest.mark.parametrize(
    ("name", "change", "slug"),
    [
        ("config.json", {"cmgan.schema": 2}, "schema"),
        ("config.json", {"cmgan.schema": True}, "schema"),
        ("config.json", {"trained": "yes"}, "config"),
        ("config.json", {"licence": None}, "config"),
        ("config.json", {"generator": []}, "config"),
        ("config.json", {"generator": {**TINY.to_dict(), "resolution": 65}}, "config"),
        ("config.json", {"generator": {**TINY.to_dict(), "resolution": 2**40}}, "config"),
        ("config.json", {"generator": {**TINY.to_dict(), "w_dim": 32}}, "other_shape"),
        ("manifest.json", {"cmgan.schema": 2}, "schema"),
        ("manifest.json", {"files": {}}, "manifest"),
        ("manifest.json", {"files": {"config.json": {"size": "1", "sha256": ""}}}, "manifest"),
        ("manifest.json", {"files": {"config.json": {"size": 2**33, "sha256": ""}}}, "model_too_large"),
        ("manifest.json", {"files": {"config.json": {"size": 1, "sha256": ""}, "../x.safetensors": {}}}, "manifest"),
        ("manifest.json", {"files": {"config.json": {"size": 1, "sha256": ""}, "a\0.safetensors": {}}}, "manifest"),
    ],
)
def test_configuration_and_manifest(folder, name, change, slug):
    values = json.loads((folder / name).read_text()) | change
    (folder / name).write_text(json.dumps(values))
    refused(sealed(folder) if name == "config.json" else folder, slug, name if slug != "other_shape" else "style")


def test_a_newer_schema_names_both(folder):
    (folder / "manifest.json").write_text('{"cmgan.schema": 7}')
    refused(folder, "schema", "7", "reads schema 1")


@pytest.mark.parametrize("name", ["manifest.json", "config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    refused(folder, "not_found", name)


def test_a_pipe_is_not_waited_for(folder):
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    refused(folder, "not_a_file", "model.safetensors")
