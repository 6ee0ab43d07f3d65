"""The discrete Fourier transform of one axis as a product with a constant matrix.

A signal of N values with C components (1 real, 2 real and imaginary, interleaved as ONNX stores them) is a row of N*C
numbers; its transform is that row times a matrix of shape (N*C, K*D). Cutting, padding, one-sided spectra and the
conjugate symmetry that a real inverse relies on are all in the matrix. Definition: ONNX operator DFT, 17 and 20.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-15  # |sin| and |cos| below this are zeros that float64 missed; up to length 10^15 others are larger


@dataclass(frozen=True)
class Transform:
    """What one DFT node computes along its axis."""

    size: int  # N, values along the axis of the input
    length: int  # L, of the transform: the input is cut or zero-padded to it
    components: int  # C of the input: 1 real, 2 complex
    inverse: bool
    onesided: bool
    scale: float = 1.0  # a constant factor on the output, folded in

    @property
    def bins(self) -> int:
        """K, the size of the output's axis."""
        return self.length // 2 + 1 if self.onesided and not self.inverse else self.length

    @property
    def output_components(self) -> int:
        """D of the output: 1 for a one-sided inverse, which is real, else 2."""
        return 1 if self.onesided and self.inverse else 2

    @property
    def matrix_shape(self) -> tuple[int, int]:
        return self.size * self.components, self.bins * self.output_components

    @property
    def kind(self) -> str:
        words = ["inverse" if self.inverse else "forward", "real" if self.components == 1 else "complex"]
        return " ".join(words + ["one-sided"] * self.onesided)

    def matrix(self) -> NDArray[np.float64]:
        """The matrix, float64 of `matrix_shape`: output row = input row @ matrix."""
        factors = self._factors()
        parts = np.empty((self.size, 2, self.bins, 2))
        parts[:, 0, :, 0] = factors.real
        parts[:, 0, :, 1] = factors.imag
        parts[:, 1, :, 0] = -factors.imag
        parts[:, 1, :, 1] = factors.real
        return parts[:, : self.components, :, : self.output_components].reshape(self.matrix_shape)

    def _factors(self) -> NDArray[np.complex128]:
        """The complex factor (N, K) by which input value n enters output value k."""
        length = self.length
        half_spectrum = self.inverse and self.onesided
        used = min(self.size, length // 2 + 1 if half_spectrum else length)
        # The angle is reduced in integers, so a factor of length 4096 is as exact as one of length 4.
        turns = np.outer(np.arange(used), np.arange(self.bins)) % length
        factors = np.zeros((self.size, self.bins), np.complex128)
        factors[:used] = _roots_of_unity(length, 1 if self.inverse else -1)[turns]
        factors *= self.scale / length if self.inverse else self.scale
        if half_spectrum:
            # Every bin but the first, and the middle one of an even length, stands for its conjugate too.
            factors[1 : (length + 1) // 2] *= 2
        return factors


def _roots_of_unity(length: int, sign: int) -> NDArray[np.complex128]:
    turn = np.arange(length)
    turn = np.where(2 * turn > length, turn - length, turn)
    angle = sign * 2 * np.pi * turn / length
    cosine, sine = np.cos(angle), np.sin(angle)
    cosine[np.abs(cosine) < _ROUNDING] = 0
    sine[np.abs(sine) < _ROUNDING] = 0
    return cosine + 1j * sine
