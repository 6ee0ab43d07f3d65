"""FFT lowering against numpy.fft, ONNX's own test cases, float64 evaluations and the runtimes it is for."""

import json
import warnings

import numpy as np
import onnx
import openvino
import pytest
import tensorrt_rtx
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.backend.test.case import node as onnx_cases
from onnx.backend.test.case.node import dft as _onnx_dft_cases  # noqa: F401

from cmgan.errors import ModelError, UsageError
from cmgan.export.lower.float64 import evaluate_float64, graph_error
from cmgan.export.lower.lowering import lower_fft, lower_file
from tests.export.lower.dft_graphs import (
    FLOAT,
    TYPES,
    by_numpy,
    chain,
    dft,
    every_variety,
    free_length,
    in_a_branch,
    info,
    integer,
    operators,
    overridable_length,
    random,
    run,
    share,
    single,
)
from tests.export.lower.lama import SmallLama
from tests.tolerances import tolerance


@st.composite
def nodes(draw):
    components, inverse, onesided = draw(
        st.sampled_from([(1, 0, 0), (2, 0, 0), (1, 0, 1), (1, 1, 0), (2, 1, 0), (2, 1, 1)])
    )
    rank = draw(st.integers(2, 5))
    shape = [draw(st.integers(1, 3)) for _ in range(rank - 1)] + [components]
    axis = draw(st.sampled_from([*range(rank - 1), *range(-rank, -1)]))
    least = 2 if inverse and onesided else 1  # the default length of one bin would be 0
    shape[axis] = draw(st.integers(least, 40))
    length = draw(st.none() | st.integers(1, 40))
    opset = draw(st.sampled_from([17, 18, 20, 24]))
    if draw(st.booleans()) and (opset >= 20 or rank > 2):
        default = -2 if opset >= 20 else 1
        shape[axis], shape[default] = shape[default], shape[axis]
        axis = None
    element_type = draw(st.sampled_from(list(TYPES)))
    return shape, element_type, opset, dict(axis=axis, length=length, inverse=inverse, onesided=onesided)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(nodes(), st.booleans())
def test_any_node_computes_what_numpy_says(node, dynamic_batch):
    shape, element_type, opset, options = node
    axis = options["axis"] if options["axis"] is not None else -2 if opset >= 20 else 1
    declared = [
        f"size{i}" if dynamic_batch and i not in (axis % len(shape), len(shape) - 1) else size
        for i, size in enumerate(shape)
    ]
    model = single(declared, element_type, opset, **options)
    lowered, report = lower_fft(model)
    onnx.checker.check_model(lowered, full_check=True)
    assert "DFT" not in operators(lowered) and len(report.nodes) == 1
    x = random(shape, element_type)
    inverse_real = options["inverse"] and options["onesided"]
    length = options["length"] or (2 * (shape[axis] - 1) if inverse_real else shape[axis])
    exact = by_numpy(x, axis=axis, length=length, inverse=options["inverse"], onesided=options["onesided"])
    result = run(lowered, {"x": x})[0]
    assert result.dtype == x.dtype
    assert share(result, exact) <= tolerance(TYPES[element_type])


# Importing the module makes its cases; collect_testcases would make those of all operators, which takes seconds.
NODE_TESTS = [case for case in onnx_cases._NodeTestCases if operators(case.model) == ["DFT"]]


def test_onnx_has_node_tests_for_both_versions():
    assert {case.model.opset_import[0].version for case in NODE_TESTS} >= {19, 20}


@pytest.mark.parametrize("case", NODE_TESTS, ids=lambda case: case.name)
def test_the_node_tests_of_onnx(case):
    (inputs, outputs), names = case.data_sets[0], [value.name for value in case.model.graph.input]
    constants = dict(zip(names[1:], inputs[1:], strict=True))  # the cases give the axis as an input: make it static
    del case.model.graph.input[1:]
    case.model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in constants.items())
    lowered, _ = lower_fft(case.model)
    (result,) = run(lowered, {names[0]: inputs[0]})
    assert share(result, outputs[0]) <= tolerance("dft_float")


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("element_type", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_every_variety_in_one_graph_is_as_exact_as_promised_and_as_the_input_file(element_type, opset):
    model = every_variety(element_type, opset)
    lowered, report = lower_fft(model)
    onnx.checker.check_model(lowered, full_check=True)
    assert "DFT" not in operators(lowered) and len(report.nodes) == len(model.graph.node)
    error = graph_error(model, lowered)
    assert error.lowered <= tolerance(TYPES[element_type])
    assert error.lowered <= error.original
    assert max(node.error.product for node in report.nodes) <= tolerance(TYPES[element_type])


@pytest.fixture(scope="module")
def lama():
    """A LaMa-style network at 128 x 128, exported by torch with its rfftn and irfftn as DFT nodes."""
    torch.manual_seed(0)
    network = SmallLama(channels=8, blocks=2).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns about itself
        program = torch.onnx.export(
            network, (torch.rand(1, 4, 128, 128),), dynamo=True, opset_version=20, verbose=False
        )
    return program.model_proto


def test_a_lama_style_network_keeps_its_picture(lama):
    lowered, report = lower_fft(lama)
    onnx.checker.check_model(lowered, full_check=True)
    assert operators(lama).count("DFT") == 16 == len(report.nodes)
    assert "DFT" not in operators(lowered)
    error = graph_error(lama, lowered)
    assert error.lowered <= tolerance("dft_float")
    assert error.lowered <= max(error.original, tolerance("last_bit"))


@pytest.mark.check
def test_a_network_with_free_sizes_is_lowered_for_sizes_that_are_given(tmp_path):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns about itself
        program = torch.onnx.export(
            SmallLama(channels=4, blocks=1).eval(),
            (torch.rand(1, 4, 64, 64),),
            dynamo=True,
            opset_version=20,
            dynamic_shapes=({2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},),
            verbose=False,
        )
    model = program.model_proto
    with pytest.raises(ModelError, match="--shape x=1,4,512,512"):
        lower_fft(model)
    lowered, report = lower_fft(model, {"x": (1, 4, 96, 64)})
    assert "DFT" not in operators(lowered) and {n.dft.transform.length for n in report.nodes} == {12, 8}
    x = random((1, 4, 96, 64))
    assert share(run(lowered, {"x": x})[0], evaluate_float64(model, {"x": x})[0]) <= tolerance("dft_float")
    assert parse_with_tensorrt(lowered)


def test_nodes_that_compute_the_same_share_a_matrix(lama):
    lowered, report = lower_fft(lama)
    assert report.matrix_count == 4  # rows forward and back, columns forward and back
    matrices = [
        tensor for tensor in lowered.graph.initializer if tensor.name.startswith("dft_") and len(tensor.dims) == 2
    ]
    assert len(matrices) == 4
    assert report.matrix_bytes == sum(len(tensor.raw_data) for tensor in matrices)


def parse_with_tensorrt(model):
    logger = tensorrt_rtx.Logger(tensorrt_rtx.Logger.INTERNAL_ERROR)
    flags = 1 << int(tensorrt_rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = tensorrt_rtx.Builder(logger).create_network(flags)
    return tensorrt_rtx.OnnxParser(network, logger).parse(model.SerializeToString())


def in_openvino(model, feeds):
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return list(compiled(feeds).values())


def test_tensorrt_parses_what_it_refused(lama):
    for model in (lama, every_variety(FLOAT, 20)):
        assert not parse_with_tensorrt(model)
        assert parse_with_tensorrt(lower_fft(model)[0])


def test_openvino_computes_what_onnx_runtime_does(lama):
    feeds = {"real": random((2, 13, 9, 16, 1)), "complex": random((2, 13, 9, 16, 2))}
    for model, arrays in ((lama, {"x": random((1, 4, 128, 128))}), (every_variety(FLOAT, 20), feeds)):
        lowered, _ = lower_fft(model)
        for value, expected in zip(in_openvino(lowered, arrays), run(lowered, arrays), strict=True):
            assert share(value, expected) <= tolerance("engines_agree")


def fft_over_three_axes(element_type=FLOAT):
    nodes, constants, source = [], [], "x"
    for target, axis in (("a", 2), ("b", 1), ("y", 0)):
        node, added = dft(source, target, 20, axis=axis)
        nodes, constants, source = [*nodes, node], [*constants, *added], target
    return chain(nodes, constants, shape=(5, 6, 8, 2), element_type=element_type)


def test_transposes_and_roundings_between_axes_of_one_fft_are_left_out():
    lowered, _ = lower_fft(fft_over_three_axes())
    assert operators(lowered).count("Transpose") == 3
    half, _ = lower_fft(fft_over_three_axes(TensorProto.FLOAT16))
    assert operators(half).count("Cast") == 2
    x = random((5, 6, 8, 2))
    for model, name, value in ((lowered, "dft_float", x), (half, "dft_float16", x.astype(np.float16))):
        exact = value.astype(np.float64)
        for axis in (2, 1, 0):
            exact = by_numpy(exact, axis=axis)
        assert share(run(model, {"x": value})[0], exact) <= tolerance(name)


def test_a_spectrum_that_is_used_twice_is_kept():
    model = fft_over_three_axes()
    model.graph.output.append(info("b", FLOAT, [None] * 4))
    lowered, _ = lower_fft(model)
    x = random((5, 6, 8, 2))
    for value, exact in zip(run(lowered, {"x": x}), run(model, {"x": x}), strict=True):
        assert share(value, exact) <= tolerance("engines_agree")


def test_lengths_that_follow_from_sizes_are_found_through_the_nodes_exporters_write():
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "two"], ["width"]),
        helper.make_node("Cast", ["width"], ["width32"], to=TensorProto.INT32),
        helper.make_node("Slice", ["shape", "one", "pair"], ["heights"]),
        helper.make_node("Squeeze", ["heights"], ["height"]),
        helper.make_node("Add", ["height", "two"], ["longer"]),
        helper.make_node("Identity", ["minus_two"], ["axis"]),
        helper.make_node("DFT", ["x", "width32", "axis"], ["a"], onesided=1),
        helper.make_node("DFT", ["a", "longer", "one_axis"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("DFT", ["c", "", "one_axis"], ["d"], inverse=1),
        helper.make_node("DFT", ["d", "width", "axis"], ["y"], inverse=1, onesided=1),
    ]
    constants = [integer("one", [1]), integer("pair", [2]), integer("two", 2), integer("minus_two", -2)]
    model = chain(nodes, [*constants, integer("one_axis", 1)])
    lowered, report = lower_fft(model)
    assert [node.dft.transform.length for node in report.nodes] == [8, 8, 8, 8]
    assert {"Shape", "Gather", "Slice", "Identity"}.isdisjoint(operators(lowered))  # nothing uses them any more
    x = random((3, 6, 8, 1))
    assert share(run(lowered, {"x": x})[0], run(model, {"x": x})[0]) <= tolerance("dft_float")


def test_values_that_double_and_values_in_circles_end():
    doubled = [helper.make_node("Add", [f"v{i}", f"v{i}"], [f"v{i + 1}"]) for i in range(60)]
    nodes = [*doubled, helper.make_node("DFT", ["x", "v60"], ["y"])]
    with pytest.raises(ModelError, match="length 0"):
        lower_fft(chain(nodes, [integer("v0", 0)]))
    circle = [helper.make_node("Add", ["b", "b"], ["a"]), helper.make_node("Add", ["a", "a"], ["b"])]
    with pytest.raises(ModelError, match="its length 'a'"):
        lower_fft(chain([*circle, helper.make_node("DFT", ["x", "a"], ["y"])], []))


SCALES = {
    "before, after and between": (["Mul x three s", "DFT s a", "Div a three b", "DFT b c", "Mul eight c y"], []),
    "a divisor is not a factor": (["Div three x s", "DFT s y"], ["Div"]),
    "one value a channel": (["Mul x row s", "DFT s y"], ["Mul"]),
    "a result of the graph": (["DFT x a", "Mul a three y"], []),
    "a spectrum used twice": (["DFT x a", "Mul a three b", "Add a b y"], ["Mul", "Add"]),
    "a factor that float32 may not hold": (["DFT x a", "Mul a huge y"], ["Mul"]),
    "a scale of a scale": (["DFT x a", "Mul a three b", "Mul b eight c", "DFT c y"], []),
    "a square": (["Mul x x s", "DFT s y"], ["Mul"]),
}


@pytest.mark.parametrize("name", SCALES)
def test_constant_factors_beside_a_dft_go_into_its_matrix(name):
    lines, left = SCALES[name]
    nodes = [helper.make_node(op, rest[:-1], rest[-1:]) for op, *rest in (line.split() for line in lines)]
    scalars = {"three": 3.0, "eight": [8.0], "huge": 1e30, "row": np.full((8, 1), 2.0)}
    constants = [onnx.numpy_helper.from_array(np.array(v, np.float32), k) for k, v in scalars.items()]
    model = chain(nodes, constants, shape=("N", 6, 8, 2))
    lowered, _ = lower_fft(model)
    assert [op for op in operators(lowered) if op in ("Mul", "Div", "Add")] == left
    x = random((3, 6, 8, 2))
    assert share(run(lowered, {"x": x})[0], run(model, {"x": x})[0]) <= tolerance("engines_agree")


def test_half_sums_beyond_its_range_stay_whole_between_a_dft_and_its_scale():
    node, constants = dft("x", "a", 20, axis=-2)
    nodes = [node, helper.make_node("Div", ["a", "size"], ["y"])]
    constants.append(onnx.numpy_helper.from_array(np.array(1024, np.float16), "size"))
    model = chain(nodes, constants, shape=(1, 1024, 1), rank=3, element_type=TensorProto.FLOAT16)
    x = np.full((1, 1024, 1), 100, np.float16)  # the sum, 102,400, is infinite in float16; the mean is 100
    (result,) = run(lower_fft(model)[0], {"x": x})
    assert share(result, by_numpy(x, axis=1) / 1024) <= tolerance("dft_float16")


def test_a_file_without_a_dft_comes_back_equal_and_the_report_is_empty():
    model = chain([helper.make_node("Relu", ["x"], ["y"])], [])
    lowered, report = lower_fft(model)
    assert lowered == model and report.nodes == ()


def test_the_input_model_is_not_changed(lama):
    before = lama.SerializeToString(deterministic=True)
    lower_fft(lama)
    assert lama.SerializeToString(deterministic=True) == before


def test_foreign_operators_pass_through_untouched():
    node, constants = dft("a", "y", 20, axis=-2)
    foreign = helper.make_node("Blur", ["x"], ["a"], domain="com.example", strength=3)
    model = chain([foreign, node], constants, domains=["com.example"])
    model.graph.value_info.append(info("a", FLOAT, ["N", 6, 8, 1]))
    lowered, _ = lower_fft(model)
    assert lowered.graph.node[0] == foreign


def test_local_functions_are_inlined_first():
    function = helper.make_function(
        "local", "Spectrum", ["t"], ["u"], [helper.make_node("DFT", ["t"], ["u"])], [helper.make_opsetid("", 20)]
    )
    node = helper.make_node("Spectrum", ["x"], ["y"], domain="local")
    model = chain([node], [], functions=[function], domains=["local"])
    lowered, report = lower_fft(model)
    x = random((3, 6, 8, 1))
    assert len(report.nodes) == 1 and "DFT" not in operators(lowered) and not lowered.functions
    assert share(run(lowered, {"x": x})[0], by_numpy(x, axis=-2)) <= tolerance("dft_float")


def test_names_that_are_taken_are_not_used_again():
    node, constants = dft("node_y/MatMul", "y", 20, axis=-2)
    model = chain([helper.make_node("Relu", ["x"], ["node_y/MatMul"]), node], constants)
    lowered, _ = lower_fft(model)
    onnx.checker.check_model(lowered, full_check=True)
    x = random((3, 6, 8, 1))
    assert share(run(lowered, {"x": x})[0], by_numpy(np.maximum(x, 0), axis=-2)) <= tolerance("dft_float")


def with_input(name, position):
    """A DFT whose length (1) or axis (2) is an input of the graph."""
    inputs = ["x", "", ""]
    inputs[position] = name
    model = chain([helper.make_node("DFT", inputs, ["y"], name="late")], [])
    model.graph.input.append(info(name, TensorProto.INT64, []))
    return model


def after_foreign():
    foreign = helper.make_node("Blur", ["x"], ["a"], domain="com.example")
    return chain([foreign, dft("a", "y", 20)[0]], [], domains=["com.example"])


REFUSED = {
    "a length that is an input": (
        lambda: with_input("length", 1),
        "dft_not_static",
        "its length 'length' is an input of the graph; make 'length' a constant",
    ),
    "an axis that is an input": (lambda: with_input("axis", 2), "dft_not_static", "its axis 'axis' is an input"),
    "a length that may be replaced": (
        overridable_length,
        "dft_not_static",
        "its length 'y_length' is the default of a graph input",
    ),
    "a length of a free size": (
        free_length,
        "dft_not_static",
        "its length 'width' is computed from a free size of the input 'x'; give its sizes, such as --shape x=1,6,512,1",
    ),
    "a length among the values": (
        lambda: chain(
            [
                helper.make_node("ReduceMax", ["k"], ["most"], keepdims=0),
                helper.make_node("DFT", ["x", "most"], ["y"]),
            ],
            [],
            more_inputs=[info("k", TensorProto.INT64, [3])],
        ),
        "dft_not_static",
        "its length 'most' follows from the values of the input 'k'",
    ),
    "a dynamic size": (
        lambda: single(["N", "W", 1], FLOAT, 20),
        "dft_not_static",
        "a free size of the input 'x'; give its sizes, such as --shape x=1,512,1",
    ),
    "dynamic components": (lambda: single(["N", 8, "C"], FLOAT, 20), "dft_not_static", "axis 2 of its input 'x'"),
    "an unknown shape": (after_foreign, "dft_not_static", "the operator com.example.Blur does not say it"),
    "three components": (lambda: single([2, 8, 3], FLOAT, 20), "dft_invalid", "3 components"),
    "the axis of components": (
        lambda: single([2, 8, 2], FLOAT, 20, axis=2),
        "dft_invalid",
        "axis 2 of an input of rank 3",
    ),
    "one-sided complex": (lambda: single([2, 8, 2], FLOAT, 20, onesided=1), "dft_invalid", "2 components"),
    "length zero": (lambda: single([2, 8, 2], FLOAT, 20, length=0), "dft_invalid", "length 0"),
    "default length of one bin": (
        lambda: single([2, 1, 2], FLOAT, 20, inverse=1, onesided=1),
        "dft_invalid",
        "length 0",
    ),
    "too long": (lambda: single([2, 20000, 2], FLOAT, 20), "dft_too_long", "536870912"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_lowered_is_refused_by_name_and_nothing_is_written(name, tmp_path):
    build, slug, words = REFUSED[name]
    onnx.save(build(), tmp_path / "in.onnx")
    with pytest.raises(ModelError) as refusal:
        lower_file(tmp_path / "in.onnx", tmp_path / "out.onnx", overwrite=False)
    assert words in refusal.value.message and refusal.value.slug == slug
    assert refusal.value.exit_code == 4 and len(refusal.value.line()) <= 300
    assert [path.name for path in tmp_path.iterdir()] == ["in.onnx"]


def test_a_file_is_lowered_with_its_external_data_and_compared(tmp_path):
    node, constants = dft("x", "a", 20, axis=-2)
    nodes = [node, helper.make_node("Mul", ["a", "weights"], ["y"])]
    weights = onnx.numpy_helper.from_array(random((6, 8, 2)), "weights")
    onnx.save(
        chain(nodes, [*constants, weights]),
        tmp_path / "in.onnx",
        save_as_external_data=True,
        location="in.data",
        size_threshold=0,
    )
    report = lower_file(tmp_path / "in.onnx", tmp_path / "out.onnx", overwrite=False, compare=True)
    assert report.graph.lowered <= tolerance("dft_float")
    assert report.nodes[0].error.onnxruntime is not None
    x = random((2, 6, 8, 1))
    exact = by_numpy(x, axis=-2) * random((6, 8, 2))
    assert share(run(onnx.load(tmp_path / "out.onnx"), {"x": x})[0], exact) <= tolerance("dft_float")


def test_an_existing_target_is_kept_unless_it_may_be_overwritten(tmp_path):
    onnx.save(single([2, 8, 1], FLOAT, 20), tmp_path / "in.onnx")
    target = tmp_path / "out.onnx"
    target.write_bytes(b"old")
    with pytest.raises(UsageError, match="overwrite"):
        lower_file(tmp_path / "in.onnx", target, overwrite=False)
    assert target.read_bytes() == b"old"
    lower_file(tmp_path / "in.onnx", target, overwrite=True)
    assert operators(onnx.load(target)) == ["Reshape", "MatMul", "Reshape"]


def test_the_report_says_what_was_replaced_and_how_exactly(lama):
    _, report = lower_fft(lama)
    rows = report.rows()
    assert len(rows) == 4  # one for equal nodes
    assert rows[0][0] == f"{report.nodes[0].dft.name} and 3 more"
    assert rows[0][1:5] == ("forward real one-sided, float", "16", "3", "16x18")
    assert "DFT in ONNX Runtime" in rows[0][5]
    assert report.summary().startswith("16 DFT nodes are products with 4 constant matrices")
    told = report.to_dict()
    assert len(told["nodes"]) == 16 and told["nodes"][0]["matrix"] == [16, 18]
    assert json.loads(json.dumps(told)) == told


def test_other_fourier_operators_are_named(tmp_path):
    nodes = [
        helper.make_node("Rfft", ["x"], ["y"], name="contributed", domain="com.microsoft", signal_ndim=1),
        *in_a_branch().graph.node,
    ]
    nodes[1].output[0] = "z"
    model = chain(nodes, in_a_branch().graph.initializer, domains=["com.microsoft"])
    report = lower_fft(model)[1]
    assert [(node.name, node.operator) for node in report.left] == [
        ("contributed", "com.microsoft.Rfft"),
        ("hidden", "DFT"),
        ("hidden", "DFT"),
    ]
    assert "com.microsoft.Rfft 'contributed'" in report.summary() and "inside If 'choice'" in report.summary()
    assert [node["operator"] for node in report.to_dict()["left"]] == ["com.microsoft.Rfft", "DFT", "DFT"]


def test_the_public_name_is_the_function():
    """Also after the module behind it has been imported."""
    import cmgan.export

    model = chain([helper.make_node("Identity", ["x"], ["y"])], [])
    assert cmgan.export.lower_fft(model)[1].nodes == ()
