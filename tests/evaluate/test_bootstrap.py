"""Intervals against SciPy's bootstrap, and what they are for."""

import numpy as np
import pytest
from scipy import stats

from cmgan.evaluate.bootstrap import CONFIDENCE, RESAMPLES, estimates
from tests.tolerances import tolerance


def test_pictures_with_unequal_numbers_of_results_against_scipy():
    draws = np.random.default_rng(1)
    pictures = np.repeat(np.arange(30), draws.integers(1, 6, 30))
    values = draws.normal(size=30)[pictures] + draws.normal(0, 0.3, len(pictures))
    sums, counts = np.bincount(pictures, values), np.bincount(pictures)
    by_scipy = stats.bootstrap(
        (sums, counts),
        lambda s, n, axis: s.sum(axis) / n.sum(axis),
        paired=True,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(2),
    )
    [found] = estimates(values[:, None], pictures, seed=0)
    assert found.mean == pytest.approx(values.mean())
    allowed = tolerance("resampled") * by_scipy.standard_error
    assert found.low == pytest.approx(by_scipy.confidence_interval.low, abs=allowed)
    assert found.high == pytest.approx(by_scipy.confidence_interval.high, abs=allowed)


def test_results_of_one_picture_do_not_count_as_many():
    """Eight copies of every row are no new knowledge: the interval stays as it was."""
    values = np.random.default_rng(4).normal(size=(10, 2))
    once = estimates(values, np.arange(10), seed=5)
    again = estimates(np.repeat(values, 8, axis=0), np.repeat(np.arange(10), 8), seed=5)
    np.testing.assert_allclose(again, once)


def test_pairing_finds_a_small_difference_in_a_large_spread():
    """Each column is resampled with the same draws, and a difference is a column of its own."""
    truth = np.random.default_rng(6).normal(0, 10, 20)
    a, b = truth, truth - np.linspace(0.1, 0.3, 20)
    alone, difference = estimates(np.stack([a, a - b], axis=1), np.arange(20), seed=0)
    assert alone.low < 0 < alone.high
    assert 0.1 < difference.low < difference.mean < difference.high < 0.3


def test_same_seed_same_interval_and_one_picture_none():
    values = np.random.default_rng(7).normal(size=(9, 1))
    assert estimates(values, np.arange(9), 1) == estimates(values, np.arange(9), 1)
    assert estimates(values, np.arange(9), 1) != estimates(values, np.arange(9), 2)
    assert estimates(values, np.zeros(9, int), 1) == [(values.mean(), None, None)]
