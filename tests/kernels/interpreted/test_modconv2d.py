"""The fused modulated convolution against its composite in float64."""

import pytest
import torch

from cmgan.kernels.launch import launches
from cmgan.kernels.modconv2d import composite, modconv2d
from cmgan.kernels.tolerances import three_way
from cmgan.kernels.winners import Tile
from tests.kernels.cases import DTYPES, convolution_arguments, double
from tests.kernels.interpreter import tensor_core_dots

SMALL = Tile(64, 32, 32, 4, 2)
CASES = {  # N, Ci, H, W, Co, k
    "smallest": ((1, 1, 1, 1), 1, 1),
    "ragged tiles, a batch": ((2, 16, 9, 7), 24, 3),
    "primes": ((1, 37, 5, 11), 13, 3),
    "to-RGB": ((2, 20, 9, 7), 3, 1),
    "one row": ((1, 16, 1, 70), 16, 3),
    "two panels of tiles": ((1, 16, 32, 33), 40, 3),
    "a layer of tiny-64": ((1, 32, 32, 32), 32, 3),
}


def judged(arguments, name, *, tile=SMALL, tf32=False, act=True):
    launches.clear()
    out = modconv2d(*arguments, act=act, tile=tile, tf32=tf32)
    assert launches["modconv2d"] == 1
    setting = act, [], tf32
    comparison = three_way(out, composite(*arguments, *setting), composite(*double(arguments), *setting), name)
    assert comparison.passed, comparison


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize(("shape", "out", "size"), CASES.values(), ids=CASES)
def test_against_float64(shape, out, size, name):
    with tensor_core_dots():
        judged(convolution_arguments(shape, out, size, DTYPES[name]), name)


def test_tf32():
    with tensor_core_dots():
        judged(convolution_arguments((2, 16, 9, 7), 24, 3, torch.float32), "tf32", tf32=True)


@pytest.mark.parametrize("tile", [Tile(16, 16, 16, 4, 2), Tile(128, 64, 64, 4, 3), Tile(32, 128, 32, 8, 4)], ids=str)
def test_the_tile_changes_nothing(tile):
    judged(convolution_arguments((2, 37, 9, 7), 24, 3, torch.float32), "float32", tile=tile)


def test_to_rgb_is_neither_demodulated_nor_activated():
    x, weight, style, _, bias, _, _ = convolution_arguments((2, 20, 9, 7), 3, 1, torch.float32)
    judged([x, weight, style, None, bias, None, None], "float32", act=False)


def test_hot_styles_do_not_overflow_half_precision():
    """The sum before demodulation would be infinite in float16; it is kept in float32."""
    arguments = convolution_arguments((1, 64, 9, 7), 16, 3, torch.float16)
    arguments[0], arguments[1] = arguments[0].abs() * 5, arguments[1].abs()
    arguments[2], arguments[3] = arguments[2] * 1000, arguments[3] / 1000
    sums = composite(*double(arguments)[:3], None, None, None, None, False, [], False)
    assert sums.max() > torch.finfo(torch.float16).max
    exact = composite(*double(arguments), True, [], False)
    comparison = three_way(modconv2d(*arguments, tile=SMALL), exact.half(), exact, "float16")
    assert comparison.passed, comparison


def test_the_interpreter_still_multiplies_bit_patterns_of_bfloat16():
    """Why the tests here patch it. When this fails, Triton has mended it and the patch can go."""
    arguments = convolution_arguments((2, 16, 9, 7), 24, 3, torch.bfloat16)
    out = modconv2d(*arguments, tile=SMALL)
    assert (out.double() - composite(*double(arguments), True, [], False)).abs().max() > 10
