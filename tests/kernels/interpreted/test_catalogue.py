"""Every kernel of the catalogue against its composite in float64, on shapes that each have a reason."""

import pytest
import torch

from cmgan.kernels.catalogue import entries, listed, widened
from cmgan.kernels.launch import launches
from cmgan.kernels.tolerances import three_way
from tests.kernels.interpreter import tensor_core_dots

SHAPES = {  # N, C, H, W
    "smallest": (1, 1, 1, 1),
    "ragged tiles, a batch": (2, 16, 9, 7),
    "primes": (3, 37, 5, 11),
    "one row, more channels than a tile": (1, 70, 1, 3),
    "a layer of tiny-64": (1, 32, 32, 32),
}
HALVES = ("ragged tiles, a batch", "primes")  # those that half precision is tried on
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


CASES = [(name, dtype) for dtype in DTYPES for name in (SHAPES if dtype == "float32" else HALVES)]


@pytest.mark.parametrize(("name", "dtype"), CASES)
@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_against_float64(entry, name, dtype):
    arguments = entry.arguments(SHAPES[name], DTYPES[dtype])
    launches.clear()
    with tensor_core_dots():
        found = listed(entry.op(*arguments))
    assert launches.total() == 1
    eager = listed(entry.composite(*arguments))
    exact = listed(entry.composite(*widened(arguments)))
    for ours, theirs, right in zip(found, eager, exact, strict=True):
        row = dtype if ours.dtype == DTYPES[dtype] else "float32"
        comparison = three_way(ours, theirs, right, row)
        assert comparison.passed, comparison
        assert ours.stride() == theirs.stride() or 1 in ours.shape


ENTRY = {entry.name: entry for entry in entries()}


def judged(name, arguments, row):
    found, eager = ENTRY[name].op(*arguments), ENTRY[name].composite(*arguments)
    comparison = three_way(found, eager, ENTRY[name].composite(*widened(arguments)), row)
    assert comparison.passed, comparison
    return found


@pytest.mark.parametrize("term", range(1, 6), ids=["demod", "bias", "residual", "noise", "style"])
@pytest.mark.parametrize("up", [False, True])
def test_each_term_of_an_epilogue_alone(term, up):
    given = ENTRY["scaling_epilogue, up"].arguments((2, 16, 9, 7), torch.float32)[:6]
    given[0] = given[0] if up else given[0][:, :, 1:, 1:]
    judged("epilogue", [x if i in (0, term) else None for i, x in enumerate(given)] + [up], "float32")


def test_a_noise_map_for_each_sample():
    arguments = ENTRY["epilogue"].arguments((2, 16, 9, 7), torch.float32)
    judged("epilogue", [*arguments[:4], torch.randn(2, 1, 9, 7), *arguments[5:]], "float32")


def test_near_the_limit_of_half_precision_the_clamp_holds():
    arguments = ENTRY["epilogue"].arguments((1, 16, 9, 7), torch.float16)
    arguments[0] = arguments[0] * 2e4
    out = judged("epilogue", arguments, "float16")
    assert out.isfinite().all() and out.abs().max() > 300


def test_a_nan_comes_out_as_a_nan():
    arguments = ENTRY["epilogue"].arguments((1, 16, 9, 7), torch.float32)
    arguments[0][0, 3, 4, 5] = float("nan")
    out = ENTRY["epilogue"].op(*arguments)
    assert out.isnan().sum() == 1 and out[0, 3, 4, 5].isnan()


def test_products_in_tf32():
    with tensor_core_dots():
        judged("modconv2d", [*ENTRY["modconv2d"].arguments((2, 16, 9, 7), torch.float32)[:-1], True], "tf32")


@pytest.mark.parametrize("tile", [(16, 16, 16, 4, 2), (128, 64, 64, 4, 3), (32, 128, 32, 8, 4)], ids=str)
def test_the_tile_changes_nothing(tile, monkeypatch):
    monkeypatch.setattr("cmgan.kernels.modconv2d.cut", lambda into, out: tile)
    judged("modconv2d", ENTRY["modconv2d"].arguments((2, 37, 9, 7), torch.float32), "float32")


def test_two_panels_of_tiles():
    judged("modconv2d", ENTRY["modconv2d"].arguments((1, 16, 32, 36), torch.float32), "float32")


def test_hot_styles_do_not_overflow_half_precision():
    """The sum before demodulation would be infinite in float16; it is kept in float32."""
    arguments = ENTRY["modconv2d"].arguments((1, 64, 9, 7), torch.float16)
    arguments[0], arguments[1], arguments[2] = arguments[0].abs() * 5, arguments[1].abs(), arguments[2] * 1000
    arguments[3] = arguments[1].float().square().sum((2, 3))
    scaled = arguments[0].double() * arguments[2].double()[:, :, None, None]
    assert scaled.max() < torch.finfo(torch.float16).max
    assert torch.conv2d(scaled, arguments[1].double(), padding=1).max() > torch.finfo(torch.float16).max
    exact = ENTRY["modconv2d"].composite(*widened(arguments))
    comparison = three_way(ENTRY["modconv2d"].op(*arguments), exact.half(), exact, "float16")
    assert comparison.passed, comparison


def test_the_interpreter_still_multiplies_bit_patterns_of_bfloat16():
    """Why the tests here patch it. When this fails, Triton has mended it and the patch can go."""
    arguments = ENTRY["modconv2d"].arguments((2, 16, 9, 7), torch.bfloat16)
    out, exact = ENTRY["modconv2d"].op(*arguments), ENTRY["modconv2d"].composite(*widened(arguments))
    assert (out.double() - exact).abs().max() > 10
