"""What follows from inputs, constants and operators, as `cmgan lower` needs it: shapes, lengths, axes."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from cmgan.errors import ModelError, UsageError
from cmgan.export.lower.lowering import lower_fft, lower_file
from tests.export.lower.dft_graphs import (
    FLOAT,
    by_numpy,
    chain,
    dft,
    free_length,
    info,
    integer,
    overridable_length,
    random,
    run,
    share,
)
from tests.tolerances import tolerance


def declared_wrongly():
    """What torch writes for dynamic sizes that are fixed later: the half spectrum's 13 bins are declared as 24."""
    nodes = [
        helper.make_node("DFT", ["x", "length", "axis"], ["spectrum"], onesided=1),
        helper.make_node("Relu", ["spectrum"], ["rectified"]),
        helper.make_node("DFT", ["rectified", "length", "axis"], ["y"], inverse=1, onesided=1),
    ]
    model = chain(nodes, [integer("length", 24), integer("axis", 2)], shape=(1, 3, 24, 1))
    model.graph.value_info.extend(info(name, FLOAT, (1, 3, 24, 2)) for name in ("spectrum", "rectified"))
    return model


def test_what_a_file_declares_of_inner_tensors_does_not_decide(tmp_path):
    onnx.save(declared_wrongly(), tmp_path / "in.onnx")
    report = lower_file(tmp_path / "in.onnx", tmp_path / "out.onnx", overwrite=False)
    assert report.nodes[1].dft.transform.matrix_shape == (26, 24) and not report.trial.problem
    x = random((1, 3, 24, 1))
    exact = np.fft.rfft(x[..., 0].astype(np.float64))
    exact = np.fft.irfft(np.maximum(exact.real, 0) + 1j * np.maximum(exact.imag, 0), 24)[..., None]
    assert share(run(onnx.load(tmp_path / "out.onnx"), {"x": x})[0], exact) <= tolerance("dft_float")


def test_a_file_that_cannot_be_run_here_is_said_to_be_so(tmp_path, caplog):
    foreign = helper.make_node("Blur", ["x"], ["a"], domain="com.example")
    model = chain([foreign, dft("a", "y", 20)[0]], [], domains=["com.example"])
    model.graph.value_info.append(info("a", FLOAT, ["N", 6, 8, 1]))
    onnx.save(model, tmp_path / "in.onnx")
    report = lower_file(tmp_path / "in.onnx", tmp_path / "out.onnx", overwrite=False)
    assert "com.example" in report.trial.problem and "could not be run here" in caplog.text


# Each computes the length 8 of x(N, 6, 8, 1), by operators that stand between a shape and a length in real files.
LENGTHS = {
    "half and double": ["Gather shape two a", "Div a two b", "Mul b two length"],
    "an odd size made even": ["Gather shape two a", "Mod a two b", "Sub a b length"],
    "negated twice": ["Gather shape two a", "Neg a b", "Neg b length"],
    "bounds": ["Gather shape two a", "Min a hundred b", "Max b two length"],
    "a choice": ["Gather shape two a", "Greater a two b", "Where b a two length"],
    "a product of sizes": ["Slice shape ones threes a", "ReduceProd a b", "Div b six length"],
    "the size of a slice": ["Size few a", "Mul a two length"],
    "joined and taken apart": ["Concat shape ones a", "Gather a two length"],
    "a scaled shape, its batch free": ["Mul shape two a", "Gather a two b", "Div b two length"],
    "by way of floats": [
        "Gather shape two a",
        "CastF a b",
        "Mul b half c",
        "Floor c d",
        "CastI d e",
        "Mul e two length",
    ],
    "a rolled shape": ["Split shape - - p q", "Concat q p a", "Gather a zero length"],
}


def static_length(lines):
    nodes = [helper.make_node("Shape", ["x"], ["shape"])]
    for op, *names in (line.split() for line in lines):
        outputs = names[-2:] if op == "Split" else names[-1:]
        inputs = [name for name in names[: -len(outputs)] if name != "-"]
        attributes = {"Concat": {"axis": 0}, "Split": {"num_outputs": 2}, "ReduceProd": {"keepdims": 0}}.get(op, {})
        if op.startswith("Cast"):
            attributes = {"to": TensorProto.FLOAT if op == "CastF" else TensorProto.INT64}
        nodes.append(helper.make_node(op.removesuffix("F").removesuffix("I"), inputs, outputs, **attributes))
    nodes.append(helper.make_node("DFT", ["x", "length", "two"], ["y"], onesided=1))
    values = {"zero": 0, "two": 2, "six": 6, "hundred": 100, "ones": [1], "threes": [3], "few": [1, 1, 1, 1]}
    constants = [integer(name, value) for name, value in values.items()]
    constants.append(onnx.numpy_helper.from_array(np.float32(0.5), "half"))
    return chain(nodes, constants)


@pytest.mark.parametrize("name", LENGTHS)
def test_a_length_is_static_whatever_integer_operators_compute_it(name):
    model = static_length(LENGTHS[name])
    lowered, report = lower_fft(model)
    assert report.nodes[0].dft.transform.length == 8
    x = random((3, 6, 8, 1))
    assert share(run(lowered, {"x": x})[0], by_numpy(x, axis=2, onesided=1)) <= tolerance("dft_float")


def test_a_free_size_is_not_static_by_way_of_a_bound():
    """min(N, 8) is 8 for most batches, and 4 for one of 4."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Min", ["shape", "eight"], ["bounded"]),
        helper.make_node("Gather", ["bounded", "zero"], ["length"]),
        helper.make_node("DFT", ["x", "length", "two"], ["y"]),
    ]
    with pytest.raises(ModelError, match="a free size of the input 'x'"):
        lower_fft(chain(nodes, [integer("eight", 8), integer("zero", 0), integer("two", 2)]))


def test_a_result_that_would_be_huge_is_not_computed():
    nodes = [
        helper.make_node("ConstantOfShape", ["huge"], ["ones"]),
        helper.make_node("ReduceSum", ["ones"], ["length"], keepdims=0),
        helper.make_node("DFT", ["x", "length"], ["y"]),
    ]
    with pytest.raises(ModelError, match="its length 'length'"):
        lower_fft(chain(nodes, [integer("huge", [10**14])]))


def test_before_ir_4_an_initializer_is_a_constant_though_it_is_an_input():
    model = overridable_length()
    model.ir_version = 3
    assert lower_fft(model)[1].nodes[0].dft.transform.length == 5


def test_free_sizes_are_fixed_by_name():
    lowered, _ = lower_fft(free_length(), {"x": (1, 6, 20, 1)})
    assert [d.dim_value for d in lowered.graph.input[0].type.tensor_type.shape.dim] == [1, 6, 20, 1]
    x = random((1, 6, 20, 1))
    assert share(run(lowered, {"x": x})[0], by_numpy(x, axis=1, length=20)) <= tolerance("dft_float")
    assert free_length().graph.input[0].type.tensor_type.shape.dim[2].dim_param == "W"


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"y": (1, 6, 8, 1)}, "--shape y: the file has the inputs x"),
        ({"x": (6, 8, 1)}, r"--shape x=6,8,1: the input is \(N, 6, W, 1\)"),
        ({"x": (1, 7, 8, 1)}, r"--shape x=1,7,8,1: the input is \(N, 6, W, 1\)"),
        ({"x": (0, 6, 8, 1)}, "--shape x=0"),
    ],
)
def test_shapes_that_do_not_fit(shapes, words):
    with pytest.raises(UsageError, match=words):
        lower_fft(free_length(), shapes)
