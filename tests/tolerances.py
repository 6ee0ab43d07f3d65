"""Every tolerance that only tests use: name -> (largest absolute difference, why). No test has one of its own.

What artefacts must hold is in `cmgan/export/gate/tolerances.py`.
"""

from types import MappingProxyType

_TABLE = MappingProxyType(
    {
        "float64": (1e-11, "The same sums of values near one in another order, a few thousand terms, in float64."),
        "float64_network": (1e-9, "The same through the whole network, which has some forty layers."),
        "float32_batch": (1e-4, "Libraries choose other summation orders for another batch size; whole network."),
        "finite_difference": (
            1e-7,
            "Central differences of step 1e-5 in float64: 1e-10 of curvature, 1e-11 of rounding.",
        ),
        "sampled": (0.05, "A variance estimated from some thirty thousand samples that share their weights."),
        "power_iteration": (0.02, "The largest singular value after some forty iterations, which come near it."),
        "seeded_deviation": (2.5, "A factor: seeded outputs aim at a deviation of 0.4, but on a picture of their own."),
        "grown": (
            0.5,
            "A share: what is left of the small encoder after 200 steps of fitting, in what it adds to the fill.",
        ),
        "mapping_epsilon": (1e-7, "The 1e-8 beside a mean square of about one, through four layers."),
        # Shares of the largest value. A product of rows with a matrix adds up to a few thousand rounded terms.
        "dft_float": (
            1e-6,
            "The promise of `cmgan lower`; float32 rounds to 6e-8 and errors of the terms mostly cancel.",
        ),
        "dft_float16": (2e-3, "The promise of `cmgan lower`; float16 rounds inputs and outputs to 5e-4."),
        "dft_bfloat16": (4e-3, "bfloat16 has 8 bits: it rounds to 2e-3, and only the output is rounded."),
        "dft_double": (1e-14, "float64 rounds to 1e-16; forty terms, and NumPy's own rounding."),
        "dft_factor": (
            5e-16,
            "A sine or cosine of a fraction of a turn: float64 rounds the angle, up to pi, to 4e-16.",
        ),
        "last_bit": (1.2e-7, "Two float32 results that round differently: one unit in the last place."),
        "psnr": (1e-5, "dB: torchmetrics takes the logarithm of the peak in float32."),
        "ssim": (1e-7, "Two float64 programs, one of which rounds its Gaussian window to float32."),
        "fid": (1e-7, "A share: torchmetrics takes eigenvalues of a product of covariances, whose roots lose digits."),
        "float32_features": (1e-5, "Features and distances near one after some sixty float32 layers."),
        "rounded_level": (0.5 + 1e-6, "A value beside itself rounded to a whole 8-bit level."),
        "share_of_20000": (0.0085, "Four standard errors of a share of a tenth among 20,000."),
        "jpeg_95": (2.5, "Levels, the mean over a crop of JPEG at quality 95, and of scaling after or before cutting."),
        "resampled": (0.15, "Standard errors: quantiles of 2000 resamples, drawn twice."),
        "engines_agree": (2e-6, "Two engines, each within 1e-6 of the exact value, on values near one."),
    }
)


def tolerance(name: str) -> float:
    """The largest absolute difference allowed under that name."""
    return _TABLE[name][0]
