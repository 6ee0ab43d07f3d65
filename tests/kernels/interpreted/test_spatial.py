"""Spatial modulation against its composite in float64."""

import pytest

from cmgan.kernels.launch import launches
from cmgan.kernels.spatial import composite, spatial_epilogue
from cmgan.kernels.tolerances import three_way
from tests.kernels.cases import DTYPES, SHAPES, double, spatial_arguments


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_against_float64(shape, name, up):
    arguments = spatial_arguments(shape, DTYPES[name], up=up, last=name != "float32")
    launches.clear()
    scaled, energy = spatial_epilogue(*arguments, up=up)
    assert launches["spatial_epilogue"] == 1
    eager, exact = composite(*arguments, up), composite(*double(arguments), up)
    comparison = three_way(scaled, eager[0], exact[0], name)
    assert comparison.passed, comparison
    comparison = three_way(energy, eager[1], exact[1], "float32")  # the sums stay in float32
    assert comparison.passed, comparison


def test_more_positions_than_a_tile_are_summed_once_each():
    arguments = spatial_arguments((2, 16, 23, 29), DTYPES["float32"], up=False, last=True)
    energy = spatial_epilogue(*arguments)[1]
    comparison = three_way(energy, composite(*arguments, False)[1], composite(*double(arguments), False)[1], "float32")
    assert comparison.passed, comparison
