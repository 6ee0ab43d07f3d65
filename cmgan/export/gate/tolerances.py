"""The one table of parity tolerances. Loosening a row is a change of its own, with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

EXACT_DB = 999.0  # the PSNR of what is the same: JSON knows no infinity


@dataclass(frozen=True)
class Tolerance:
    """What an artefact may differ by from the eager model in fp32, in the whole picture and in the hole alike.

    `max_abs` and `mean_abs` are on the raw output, about [-1, 1] before clamping; `levels` and `equal` on its 8-bit
    pictures: no value may be further off, and that share of the values must not be off at all; in the hole the 8-bit
    pictures reach at least `psnr`, in decibels, and at least the share `near` of their values is within two levels.
    """

    max_abs: float
    mean_abs: float
    levels: int
    equal: float
    psnr: float = 0.0
    near: float = 0.0


TOLERANCES = {
    # Rounding only: the same float32 arithmetic in another order. First values of the design; the worst error seen over
    # the presets and seeds is printed by `cmgan export`.
    "fp32": Tolerance(max_abs=1e-4, mean_abs=5e-6, levels=1, equal=0.9995),
    # Lower precision: no bound on the single value that 8 bits would show, but one on the mean and on the picture.
    # The mean of fp16 is twice the worst seen (2.5e-3, tiny-64 with 95 % hole: one shift of the whole picture).
    "fp16": Tolerance(max_abs=5e-2, mean_abs=5e-3, levels=255, equal=0.0, psnr=45.0, near=0.99),
    "bf16": Tolerance(max_abs=inf, mean_abs=1e-2, levels=255, equal=0.0, psnr=38.0),
    "int8": Tolerance(max_abs=inf, mean_abs=inf, levels=255, equal=0.0, psnr=33.0),
    "auto": Tolerance(max_abs=inf, mean_abs=inf, levels=255, equal=0.0, psnr=33.0),  # int8 where that passes
}

# Decibels above its row's least that a mix of precisions must reach, since it is chosen on the cases that judge it.
SEARCH_MARGIN = 0.5

# Values that an artefact holds in fp16, which ends at 65,504, stay within half of that: the cases are not all there is.
FP16_LIMIT = 32752

# Hot weights multiply every demodulated style by this; demodulation must take it out again.
HOT = 50.0

# Decibels that the values inside an artefact's graph must be above their difference from the fp32 graph's, for
# `--debug-layers`. Rounding in another order leaves more in fp32; half precision rounds in every layer.
NODE_SNR = {"fp32": 80.0, "fp16": 35.0, "bf16": 20.0}
