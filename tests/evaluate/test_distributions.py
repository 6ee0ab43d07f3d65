"""FID against torchmetrics and a closed form; P-IDS and U-IDS against their definition."""

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC
from torchmetrics.image.fid import FrechetInceptionDistance

from cmgan.evaluate.distributions import frechet_distance, ids
from tests.tolerances import tolerance

FEATURES = 12


@pytest.fixture
def sets():
    draws = np.random.default_rng(3)
    real = draws.normal(size=(60, FEATURES)) @ draws.normal(size=(FEATURES, FEATURES))
    return real, real + draws.normal(0.3, 1.0, size=real.shape)


def test_fid_against_torchmetrics(sets):
    class Same(torch.nn.Module):
        num_features = FEATURES

        def forward(self, x):
            return x

    judge = FrechetInceptionDistance(feature=Same()).set_dtype(torch.float64)
    for features, real in zip(sets, (True, False), strict=True):
        judge.update(torch.from_numpy(features), real=real)
    assert frechet_distance(*sets) == pytest.approx(judge.compute().item(), rel=tolerance("fid"))


def test_fid_with_fewer_samples_than_features_of_a_known_answer():
    """Along one line both sets are one-dimensional: (difference of means)^2 + (difference of deviations)^2."""
    line = np.zeros(1280)
    line[[3, 500]] = 0.6, 0.8
    a, b = np.array([0.0, 1.0, 5.0]), np.array([2.0, 2.5, 9.0, 4.0])
    known = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert frechet_distance(np.outer(a, line), np.outer(b, line)) == pytest.approx(known, rel=tolerance("fid"))


def test_ids_by_the_definition(sets):
    real, fake = sets
    machine = LinearSVC(dual=False).fit(np.concatenate([real, fake]), [1] * len(real) + [0] * len(fake))
    weights, offset = machine.coef_[0], machine.intercept_[0]

    def realism(x):
        return sum(w * v for w, v in zip(weights, x, strict=True)) + offset

    paired = [realism(f) > realism(r) for r, f in zip(real, fake, strict=True)]
    wrong = [realism(r) <= 0 for r in real] + [realism(f) > 0 for f in fake]
    p_ids, u_ids = ids(real, fake)
    assert p_ids == pytest.approx(100 * sum(paired) / len(paired))
    assert u_ids == pytest.approx(100 * sum(wrong) / len(wrong))
    assert 0 < p_ids < 50 and 0 < u_ids < 50


def test_ids_of_far_and_of_equal_sets(sets):
    real, _ = sets
    assert ids(real, real + 100) == (0, 0)
    same_sets = ids(real, real[::-1])
    assert same_sets[1] == 50
