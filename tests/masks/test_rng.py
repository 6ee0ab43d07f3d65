"""Randomness that depends on (seed, epoch, index, stream) only."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cmgan.errors import UsageError
from cmgan.masks.rng import STREAMS, sample_rng


def _draw(*arguments):
    return sample_rng(*arguments).integers(0, 2**63, 4).tolist()


def test_the_same_arguments_give_the_same_numbers_in_any_order():
    cases = list(itertools.product((0, 1, 2**64 - 1), (0, 1, 7), (0, 1, 2**40), STREAMS))
    first = {case: _draw(*case) for case in cases}
    assert {case: _draw(*case) for case in reversed(cases)} == first
    assert len({tuple(numbers) for numbers in first.values()}) == len(cases)


def test_philox_of_the_paper():
    """One block of Philox 4x64-10, computed as in Salmon et al. 2011, section 3 and table 2."""
    multipliers, weyl, word = (0xD2E7470EE14C6C93, 0xCA5A826395121157), (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B), 2**64
    counter, key = [1, 0, 3, 4], [7, STREAMS["noise"]]  # NumPy counts up before each block
    for _ in range(10):
        left, right = multipliers[0] * counter[0], multipliers[1] * counter[2]
        counter = [right // word ^ counter[1] ^ key[0], right % word, left // word ^ counter[3] ^ key[1], left % word]
        key = [(k + w) % word for k, w in zip(key, weyl, strict=True)]
    drawn = sample_rng(7, 3, 4, "noise").bit_generator.random_raw(4)
    assert np.array_equal(drawn, np.array(counter, dtype=np.uint64))


@pytest.mark.parametrize("arguments", [(-1, 0, 0), (0, 2**64, 0), (0, 0, -5)])
def test_numbers_out_of_range(arguments):
    with pytest.raises(UsageError, match=r"a whole number from 0 to 2\*\*64 - 1 is needed"):
        sample_rng(*arguments, "mask")


def test_an_unknown_stream():
    with pytest.raises(UsageError, match="'masks' is no random stream; the streams are mask, augment, noise, order"):
        sample_rng(0, 0, 0, "masks")
