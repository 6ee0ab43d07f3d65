"""The gate in front of ONNX files: what a hostile, broken or foreign file must end in."""

import os
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from cmgan.errors import ModelError
from cmgan.runtime.onnx import file as onnx_file
from cmgan.runtime.onnx.file import check_own_graph, load_onnx

WEIGHT = np.arange(6, dtype=np.float32)


def model_with(nodes=None, opset=20, ir_version=10, functions=(), domains=()):
    """y = x + w, or `nodes` in its place."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [6]) for name in ("x", "y")]
    nodes = nodes or [helper.make_node("Add", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "graph", value[:1], value[1:], [numpy_helper.from_array(WEIGHT, "w")])
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version, functions=list(functions))


def external(**entries):
    """`model_with` whose weight lies outside, at these entries."""
    model = model_with()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return model


def written(folder, content):
    path = folder / "model.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return path


def refused(path, slug, words, load=load_onnx):
    with pytest.raises(ModelError) as refusal:
        load(path)
    assert refusal.value.slug == slug and words in refusal.value.message
    assert refusal.value.exit_code == 4 and len(refusal.value.line()) <= 300
    assert refusal.value.file == path


def test_a_whole_model_is_loaded(tmp_path):
    model = model_with()
    assert load_onnx(written(tmp_path, model)) == model


@pytest.mark.parametrize(
    "content, slug, words",
    [
        (b"", "empty_file", "0 bytes"),
        (b"not a model at all\n", "not_onnx", "not an ONNX file"),
        (b"\n <!DOCTYPE html><html>not found</html>", "web_page", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "lfs_pointer", "git lfs pull"),
        (b"\x08\x0a", "not_onnx", "not a whole ONNX model"),
        (bytes(range(256)) * 40, "not_onnx", "not an ONNX file"),
    ],
    ids=["empty", "text", "web page", "LFS pointer", "only a version", "binary"],
)
def test_what_is_no_model_gets_its_own_words(tmp_path, content, slug, words):
    refused(written(tmp_path, content), slug, words)


def test_every_cut_of_a_model_is_refused(tmp_path):
    whole = model_with().SerializeToString()
    for length in range(len(whole)):
        with pytest.raises(ModelError):
            load_onnx(written(tmp_path, whole[:length]))


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path):
    refused(tmp_path / "none.onnx", "not_found", "no such file")
    refused(tmp_path, "unreadable", "directory")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "not_a_file", "regular")


def test_a_file_over_the_limit_is_refused(tmp_path):
    path = written(tmp_path, model_with())
    refused(path, "file_too_large", "the limit is 100", lambda path: load_onnx(path, 100))


def test_versions_newer_than_the_installed_onnx_are_named(tmp_path):
    refused(written(tmp_path, model_with(opset=99)), "onnx_too_new", "operator set 99")
    refused(written(tmp_path, model_with(ir_version=99)), "onnx_too_new", "IR version 99")


def test_too_many_nodes_are_refused_wherever_they_stand(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "NODE_LIMIT", 3)
    chain = [helper.make_node("Relu", [f"{i}"], [f"{i + 1}"]) for i in range(3)]
    value = helper.make_tensor_value_info("3", TensorProto.FLOAT, [6])
    branch = helper.make_graph(chain, "branch", [], [value])
    node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    refused(written(tmp_path, model_with([node])), "too_many_nodes", "7 nodes; the limit is 3")


@pytest.mark.parametrize("dims", [[10**12], [-6], [2**40, 2**40]])
def test_a_tensor_that_claims_more_than_its_bytes_is_refused(tmp_path, dims):
    model = model_with()
    model.graph.initializer[0].dims[:] = dims
    refused(written(tmp_path, model), "bad_graph", "the tensor 'w' claims the shape")


def test_names_that_are_not_text_are_refused(tmp_path):
    content = model_with().SerializeToString().replace(b"graph", b"gr\xffph")
    refused(written(tmp_path, content), "not_onnx", "UTF-8")


def test_external_data_is_loaded_from_where_it_lies(tmp_path):
    (tmp_path / "weights").write_bytes(b"....." + WEIGHT.tobytes())
    model = load_onnx(written(tmp_path, external(location="weights", offset=5, length=24)))
    assert model == model_with()
    (tmp_path / "weights").unlink()
    assert numpy_helper.to_array(model.graph.initializer[0]).tolist() == WEIGHT.tolist()


def test_external_data_without_offset_and_length_and_of_packed_types_is_loaded(tmp_path):
    (tmp_path / "weights").write_bytes(WEIGHT.tobytes())
    assert load_onnx(written(tmp_path, external(location="weights"))) == model_with()
    model = external(location="weights", length=3)
    model.graph.initializer[0].data_type = TensorProto.INT4  # six values in three bytes
    assert len(load_onnx(written(tmp_path, model)).graph.initializer[0].raw_data) == 3


NAMES = ["../weights", "/etc/hostname", "sub/../../weights", "sub/weights", "", ".", "..", "*/_ORT_MEM_ADDR_/*", "a\\b"]


@pytest.mark.parametrize("name", NAMES)
def test_external_data_outside_the_folder_is_never_opened(tmp_path, monkeypatch, name):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "in" / "sub"):
        (folder / "weights").write_bytes(WEIGHT.tobytes())
    path = written(tmp_path / "in", external(location=name, offset=0, length=24))
    opened = []
    monkeypatch.setattr(sys.modules["os"], "open", recording(os.open, opened))
    refused(path, "external_data", "bare file name")
    assert set(opened) == {str(path)}


def recording(function, calls):
    def recorded(path, *rest, **options):
        calls.append(str(path))
        return function(path, *rest, **options)

    return recorded


def test_external_data_must_be_a_plain_file_with_one_name(tmp_path):
    path = written(tmp_path, external(location="weights", length=24))
    refused(path, "external_data", "cannot be opened")
    (tmp_path / "real").write_bytes(WEIGHT.tobytes())
    (tmp_path / "weights").symlink_to("real")
    refused(path, "external_data", "not a link: copy both files with cp -L")
    (tmp_path / "weights").unlink()
    os.link(tmp_path / "real", tmp_path / "weights")
    refused(path, "external_data", "2 links): copy both files with cp -L")
    (tmp_path / "weights").unlink()
    os.mkfifo(tmp_path / "weights")
    refused(path, "external_data", "plain file")
    (tmp_path / "weights").unlink()
    (tmp_path / "weights").mkdir()
    refused(path, "external_data", "plain file")


@pytest.mark.parametrize(
    "entries, words",
    [
        (dict(length=10**15), "10"),
        (dict(offset=-4), "-4"),
        (dict(offset=1, length=24), "offset 1"),
        (dict(offset=10**18), "has 24 bytes"),
        (dict(length=20), "20 bytes"),
        (dict(offset="1e3"), "'1e3'"),
        (dict(offset=""), "''"),
    ],
    ids=str,
)
def test_external_ranges_beyond_the_file_or_the_tensor_are_refused(tmp_path, entries, words):
    (tmp_path / "weights").write_bytes(WEIGHT.tobytes())
    refused(written(tmp_path, external(location="weights", **entries)), "external_data", words)


@pytest.mark.parametrize("dims", [[10**9, 10**9], [-6], [2**62, 4]])
def test_external_shapes_beyond_the_file_are_refused(tmp_path, dims):
    (tmp_path / "weights").write_bytes(WEIGHT.tobytes())
    model = external(location="weights")
    model.graph.initializer[0].dims[:] = dims
    refused(written(tmp_path, model), "external_data", "'w'")


def test_external_tensors_that_share_a_file_count_each(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "EXTERNAL_LIMIT", 40)
    (tmp_path / "weights").write_bytes(WEIGHT.tobytes())
    model = external(location="weights")
    model.graph.initializer.add().CopyFrom(model.graph.initializer[0])
    refused(written(tmp_path, model), "external_data", "over the limit of 40 bytes")


def test_external_data_in_attributes_of_inner_graphs_is_checked_too(tmp_path):
    constant = helper.make_node("Constant", [], ["c"], value=external(location="../weights").graph.initializer[0])
    branch = helper.make_graph([constant], "branch", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, [6])])
    node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    refused(written(tmp_path, model_with([node])), "external_data", "bare file name")


def test_cmgan_files_hold_standard_operators_only():
    check_own_graph(model_with())
    function = helper.make_function("local", "F", ["t"], ["u"], [], [])
    branch = helper.make_graph([], "branch", [], [])
    foreign = {
        "com.example.Add": model_with([helper.make_node("Add", ["x"], ["y"], domain="com.example")]),
        "EPContext": model_with([helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft")]),
        "local function 'F'": model_with(functions=[function]),
        "subgraph": model_with([helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)]),
    }
    for words, model in foreign.items():
        with pytest.raises(ModelError, match=words):
            check_own_graph(model)


def test_the_gate_needs_no_torch(tmp_path):
    path = written(tmp_path, model_with())
    code = f"""
import sys
sys.modules["torch"] = None
from cmgan.runtime.onnx.file import load_onnx
assert "onnx" not in sys.modules
load_onnx(__import__("pathlib").Path({str(path)!r}))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
