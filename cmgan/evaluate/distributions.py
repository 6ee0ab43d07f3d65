"""What a set of results is worth beside the set of truths: distances of their features."""

from __future__ import annotations

import numpy as np


def frechet_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Frechet distance (FID, Heusel et al. 2017) of two sets of features (N, D) and (M, D), N and M at least 2.

    The trace of the root of a product of covariances X'X and Y'Y is the sum of the singular values of X Y': no root of
    a matrix, which is not exact where there are fewer samples than features.
    """
    a, b = (np.asarray(x, np.float64) for x in (real, fake))
    p, q = (_triangle((x - x.mean(axis=0)) / np.sqrt(len(x) - 1)) for x in (a, b))
    shared = np.linalg.norm(p @ q.T, "nuc")
    means = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    return float(means + np.square(p).sum() + np.square(q).sum() - 2 * shared)


def _triangle(x: np.ndarray) -> np.ndarray:
    """R of x = QR: the same covariance in at most as many rows as there are features."""
    return np.asarray(np.linalg.qr(x, mode="r"))


def ids(real: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
    """P-IDS and U-IDS in percent (Zhao et al. 2021) of paired features, both (N, D).

    A linear support vector machine learns to tell real from fake. P-IDS is the share of fakes that it finds more real
    than their own real one, U-IDS its share of errors on all. Higher is better, 50 is perfect. They say something where
    N is larger than D: any two sets of fewer samples than features can be separated, which makes both of them 0.
    """
    from sklearn.svm import LinearSVC  # type: ignore[import-untyped]

    both = np.concatenate([real, fake])
    labels = np.repeat([1, 0], [len(real), len(fake)])
    machine = LinearSVC(dual=False).fit(both, labels)
    more_real = machine.decision_function(fake) > machine.decision_function(real)
    return 100 * float(more_real.mean()), 100 * float(1 - machine.score(both, labels))
