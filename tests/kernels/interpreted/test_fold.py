"""Folded weights against the reference's demodulation, layer by layer."""

import pytest
import torch

from cmgan.kernels.fold import composite, fold_weights, layer_views, pack, row_table
from cmgan.kernels.launch import launches
from cmgan.kernels.tolerances import three_way
from tests.kernels.cases import DTYPES, randn

SHAPES = [8, 5, 3, 1, 3, 8, 1, 0, 2, 130, 3, 1, 1, 1, 1, 1]  # odd channels, to-RGB, rows longer than a block, smallest
EVEN = [3, 16, 3, 1, 2, 128, 3, 1]  # channels that allow wide loads


def folded(weights, styles, name, shapes=SHAPES):
    packed, rows = pack(weights), row_table(shapes)
    launches.clear()
    out = fold_weights(packed, rows, styles, shapes)
    assert launches["fold_weights"] == 1
    exact = composite(packed.double(), rows, styles.double(), shapes)
    eager = composite(packed, rows, styles, shapes)
    return zip(*(layer_views(x, shapes) for x in (out, eager, exact)), strict=True)


def weights_of(dtype, shapes=SHAPES):
    return [randn(o, i, k, k, dtype=dtype) for o, i, k in zip(shapes[::4], shapes[1::4], shapes[2::4], strict=True)]


@pytest.mark.parametrize("scale", [1.0, 1e-4, 300.0], ids=["usual", "weights near zero: epsilon", "hot styles"])
@pytest.mark.parametrize("name", DTYPES)
def test_against_float64(name, scale):
    weights, styles = weights_of(DTYPES[name]), randn(sum(SHAPES[1::4]), dtype=DTYPES[name])
    if scale < 1:
        weights = [w * scale for w in weights]
    else:
        styles = styles * scale
    for layer in folded(weights, styles, name):
        comparison = three_way(*layer, name)
        assert comparison.passed, comparison


def test_wide_loads():
    weights, styles = weights_of(torch.float32, EVEN), randn(sum(EVEN[1::4]), dtype=torch.float32)
    for layer in folded(weights, styles, "float32", EVEN):
        comparison = three_way(*layer, "float32")
        assert comparison.passed, comparison


def test_packing_keeps_every_weight():
    weights = weights_of(torch.float32)
    for layer, weight in zip(layer_views(pack(weights), SHAPES), weights, strict=True):
        assert torch.equal(layer, weight) and layer.is_contiguous(memory_format=torch.channels_last)
    list(folded(weights, randn(sum(SHAPES[1::4]), dtype=torch.float32), "float32"))
