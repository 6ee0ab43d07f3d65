"""How sure a mean is: percentile bootstrap over pictures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95
_MOST_AT_ONCE = 1 << 24  # counts drawn at a time: 128 MiB


class Estimate(NamedTuple):
    """A mean and its interval at `CONFIDENCE`; without an interval where there is one picture only."""

    mean: float
    low: float | None
    high: float | None


def estimates(values: np.ndarray, pictures: np.ndarray, seed: int) -> list[Estimate]:
    """The mean of each column of `values`, float (N, K), with its interval.

    Results of one picture are not independent: pictures are drawn again, each with all its results. `pictures`, int
    (N,), says which picture a row is of. Differences of two methods as values make the bootstrap a paired one.
    """
    _, members = np.unique(pictures, return_inverse=True)
    rows = np.bincount(members).astype(np.float64)
    sums = np.stack([np.bincount(members, column) for column in values.T], axis=1)
    means = values.mean(axis=0)
    if len(rows) < 2:
        return [Estimate(float(mean), None, None) for mean in means]
    draws = np.random.Generator(np.random.PCG64(seed))
    some = max(1, min(RESAMPLES, _MOST_AT_ONCE // len(rows)))
    again = []
    for start in range(0, RESAMPLES, some):
        size = min(some, RESAMPLES - start)
        counts = draws.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size).astype(np.float64)
        again.append(counts @ sums / (counts @ rows)[:, None])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(again), [tail, 1 - tail], axis=0)
    return [Estimate(*map(float, three)) for three in zip(means, low, high, strict=True)]
