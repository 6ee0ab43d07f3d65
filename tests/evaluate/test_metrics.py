"""PSNR, SSIM, L1 and GMSD of one result against other libraries and the letter of their papers."""

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from cmgan.evaluate.metrics import MOST_DB, PAIR_METRICS, gmsd, score
from tests.tolerances import tolerance

SIDE = 48


@pytest.fixture
def case():
    """A smooth picture, its copy with a noisy hole, and the hole."""
    draws = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    truth = np.stack([4 * x + y, 5 * y, 120 + 2 * x - y], axis=2).clip(0, 255).astype(np.uint8)
    hole = np.hypot(x - 20, y - 26) < 14
    noisy = (truth + draws.normal(0, 30, truth.shape)).clip(0, 255).astype(np.uint8)
    return truth, np.where(hole[..., None], noisy, truth), hole


def _tensor(picture):
    return torch.from_numpy(picture).double().permute(2, 0, 1)[None]


def _ssim_map(truth, result):
    """That of torchmetrics, (SIDE, SIDE); its window reaches five pixels far and is whole away from the border."""
    tensors = _tensor(result), _tensor(truth)
    _, full = structural_similarity_index_measure(*tensors, data_range=255.0, return_full_image=True)
    return full[0].mean(dim=0).numpy()


def test_whole_picture_against_torchmetrics(case):
    truth, result, hole = case
    found, a, b = score(truth, result, hole), _tensor(result), _tensor(truth)
    psnr = peak_signal_noise_ratio(a, b, data_range=255.0).item()
    assert found["psnr"] == pytest.approx(psnr, abs=tolerance("psnr"))
    assert found["ssim"] == pytest.approx(_ssim_map(truth, result)[5:-5, 5:-5].mean(), abs=tolerance("ssim"))
    assert found["l1"] == pytest.approx((a - b).abs().mean().item(), abs=tolerance("float64"))


def test_hole_alone_against_its_pixels(case):
    truth, result, hole = case
    found = score(truth, result, hole)
    a, b = truth[hole].astype(float), result[hole].astype(float)
    assert found["hole_psnr"] == pytest.approx(-10 * np.log10(((a - b) ** 2).mean() / 255**2), abs=tolerance("float64"))
    assert found["hole_l1"] == pytest.approx(np.abs(a - b).mean(), abs=tolerance("float64"))


def test_ssim_of_the_hole_is_the_mean_of_the_map_there(case):
    truth, result, hole = case
    assert not (hole[:5].any() or hole[-5:].any() or hole[:, :5].any() or hole[:, -5:].any())
    inside = _ssim_map(truth, result)[hole].mean()
    assert score(truth, result, hole)["hole_ssim"] == pytest.approx(inside, abs=tolerance("ssim"))


def test_gmsd_is_that_of_the_paper(case):
    """Xue et al. 2014, equations 1 to 6, and the halving of their program."""
    truth, result, hole = case
    luma = [p.astype(float) @ [0.299, 0.587, 0.114] for p in (truth, result)]
    small = [convolve2d(x, np.full((2, 2), 0.25))[1::2, 1::2] for x in luma]
    h = np.array([[1, 0, -1]] * 3) / 3
    r, d = (np.sqrt(convolve2d(x, h, "same") ** 2 + convolve2d(x, h.T, "same") ** 2) for x in small)
    gms = (2 * r * d + 170) / (r**2 + d**2 + 170)
    deviation = np.sqrt(((gms - gms.mean()) ** 2).sum() / (gms.size - 1))
    assert deviation > 0.01
    assert gmsd(*luma) == pytest.approx(deviation, abs=tolerance("float64"))
    assert score(truth, result, hole)["gmsd"] == pytest.approx(deviation, abs=tolerance("float64"))


def test_the_truth_itself_is_the_best_there_is(case):
    truth, result, hole = case
    best, found = score(truth, truth, hole), score(truth, result, hole)
    assert best["psnr"] == best["hole_psnr"] == MOST_DB
    for metric in PAIR_METRICS:
        assert (best[metric.name] > found[metric.name]) is metric.higher_is_better, metric.name
