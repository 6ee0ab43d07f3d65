"""The matrices of discrete Fourier transforms, entry by entry."""

import cmath
import itertools
import math

import numpy as np
import pytest

from cmgan.export.lower.dft import Transform
from tests.tolerances import tolerance

KINDS = [(1, False, False), (2, False, False), (1, False, True), (1, True, False), (2, True, False), (2, True, True)]


def literal(transform, row):
    """The transform of `row` (N values) by its defining sum."""
    length = transform.length
    values = [complex(value) for value in row[:length]] + [0j] * (length - len(row))
    if transform.inverse and transform.onesided:
        half = values[: length // 2 + 1]
        values = [half[k] if k < len(half) else half[length - k].conjugate() for k in range(length)]
        values[0] = complex(values[0].real)
        if length % 2 == 0:
            values[length // 2] = complex(values[length // 2].real)
    sign = 2j if transform.inverse else -2j
    total = [
        sum(value * cmath.exp(sign * cmath.pi * n * k / length) for n, value in enumerate(values))
        for k in range(transform.bins)
    ]
    return [value / length if transform.inverse else value for value in total]


# 1 alone, 2 the smallest even, 7 prime, 8 a power of two, 9 odd and composite; each whole, cut and padded.
@pytest.mark.parametrize("size, length", list(itertools.product((1, 2, 7, 8, 9), repeat=2)))
@pytest.mark.parametrize("components, inverse, onesided", KINDS)
def test_a_row_times_the_matrix_is_the_defining_sum(size, length, components, inverse, onesided):
    transform = Transform(size, length, components, inverse, onesided)
    x = np.random.default_rng(0).standard_normal((size, components))
    row = x[:, 0] + (1j * x[:, 1] if components == 2 else 0)
    result = (x.reshape(-1) @ transform.matrix()).reshape(transform.bins, transform.output_components)
    expected = np.array(literal(transform, list(row)))
    parts = np.stack([expected.real, expected.imag][: transform.output_components], axis=-1)
    np.testing.assert_allclose(result, parts, rtol=0, atol=tolerance("float64"))


@pytest.mark.parametrize("length", [4096, 4099])  # a power of two and a prime, whose largest angle is 10^7 turns
def test_factors_of_long_transforms_are_exact(length):
    if np.finfo(np.longdouble).eps >= np.finfo(np.float64).eps:
        pytest.skip("this machine has no float wider than 64 bits")
    matrix = Transform(length, length, 1, False, False).matrix().reshape(length, length, 2)
    for n, k in [(1, 1), (length - 1, length - 1), (length // 2, 3), (length // 4, 1), (1234, 3456)]:
        turn = np.longdouble(2) * np.longdouble("3.14159265358979323846264338327950288") * (n * k % length) / length
        assert abs(matrix[n, k, 0] - np.cos(turn)) <= tolerance("dft_factor")
        assert abs(matrix[n, k, 1] + np.sin(turn)) <= tolerance("dft_factor")


def test_the_imaginary_parts_that_a_real_signal_cannot_have_are_ignored_exactly():
    matrix = Transform(5, 8, 2, True, True).matrix().reshape(5, 2, 8)
    assert not matrix[0, 1].any() and not matrix[4, 1].any()


def test_a_scale_multiplies_the_matrix():
    plain, scaled = Transform(5, 5, 2, True, False), Transform(5, 5, 2, True, False, math.sqrt(5))
    np.testing.assert_allclose(scaled.matrix(), plain.matrix() * math.sqrt(5), rtol=0, atol=tolerance("dft_factor"))
