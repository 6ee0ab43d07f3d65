"""What one result is worth beside the truth: errors and similarities of two 8-bit pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST_DB = 100.0  # what stands for an infinite PSNR, which has no mean
_GMSD_C = 170.0  # of the paper, for luminance in 0..255
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@dataclass(frozen=True)
class Metric:
    """A number of a result: its name in files, its title in tables, and which way is better."""

    name: str
    title: str
    digits: int
    higher_is_better: bool


PAIR_METRICS = (
    Metric("hole_psnr", "PSNR hole, dB", 2, True),
    Metric("hole_ssim", "SSIM hole", 4, True),
    Metric("hole_l1", "L1 hole, levels", 2, False),
    Metric("psnr", "PSNR, dB", 2, True),
    Metric("ssim", "SSIM", 4, True),
    Metric("l1", "L1, levels", 3, False),
    Metric("gmsd", "GMSD", 4, False),
)


def feature_metrics(judge: str) -> tuple[Metric, Metric]:
    """The distances of an extractor's features, in the hole and of the whole picture."""
    return Metric(f"hole_{judge}", f"features {judge} hole", 3, False), Metric(judge, f"features {judge}", 4, False)


def score(truth: np.ndarray, result: np.ndarray, hole: np.ndarray) -> dict[str, float]:
    """The numbers of `PAIR_METRICS`; pictures are uint8 (R, R, 3), R at least 12 and even, `hole` is bool (R, R)."""
    a, b = truth.astype(np.float64), result.astype(np.float64)
    similarity, ssim_map = _ssim(a, b)
    return {
        "hole_psnr": psnr(a[hole], b[hole]),
        "hole_ssim": float(ssim_map[hole].mean()),
        "hole_l1": float(np.abs(a[hole] - b[hole]).mean()),
        "psnr": psnr(a, b),
        "ssim": similarity,
        "l1": float(np.abs(a - b).mean()),
        "gmsd": gmsd(a @ _LUMA, b @ _LUMA),
    }


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal to noise ratio in dB of 8-bit samples of any shape, at most `MOST_DB`."""
    error = float(np.square(a - b).mean())
    return min(MOST_DB, 10 * float(np.log10(255**2 / error))) if error else MOST_DB


def _ssim(a: np.ndarray, b: np.ndarray) -> tuple[float, np.ndarray]:
    """Structural similarity (Wang et al. 2004: Gaussian window of 11 pixels, deviation 1.5, each channel alone).

    Its mean away from the border, where the window is whole; and its map (R, R), mean of the channels.
    """
    from skimage.metrics import structural_similarity

    mean, full = structural_similarity(
        a,
        b,
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    return float(mean), full.mean(axis=2)


def gmsd(a: np.ndarray, b: np.ndarray) -> float:
    """Gradient magnitude similarity deviation (Xue et al. 2014) of two luminances (H, W) in 0..255, sides even.

    Both are halved by the mean of 2 x 2 pixels; gradients are Prewitt's, borders zero, as in the authors' program.
    """
    small = [x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2).mean(axis=(1, 3)) for x in (a, b)]
    m, n = (_gradient(x) for x in small)
    similarity = (2 * m * n + _GMSD_C) / (m * m + n * n + _GMSD_C)
    return float(similarity.std(ddof=1))


def _gradient(x: np.ndarray) -> np.ndarray:
    padded = np.pad(x, 1)
    down = padded[:-2] + padded[1:-1] + padded[2:]
    along = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return np.hypot(down[:, 2:] - down[:, :-2], along[2:] - along[:-2]) / 3
