"""The spectral part of a Fourier convolution as products with constant matrices and 1x1 convolutions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmgan.model.functional import irfft2, rfft2

# e^-i(kh + lw) at (+k, l) and at (-k, l), as multiples of the products of a cosine or sine of lw with one of kh.
_TWIDDLE = torch.tensor([[[1, -1j], [-1j, -1]], [[1, 1j], [-1j, 1]]], dtype=torch.complex128)  # (sign, columns, rows)


class _Waves(nn.Module):
    """Cosines and sines of K frequencies over the first half of H positions.

    columns (H / 2, 2K), rows (2, H / 2, K), and for the way back columns_back (2K, H / 2), rows_back (2, K, H / 2).
    """

    def __init__(self, frequencies: Tensor, side: int, dtype: torch.dtype) -> None:
        super().__init__()
        half = side // 2
        # Angle of frequency k at position h; reduced modulo one turn before the multiplication, which keeps it exact.
        angle = torch.outer(frequencies, torch.arange(half)).remainder(side).double() / side * (2 * math.pi)
        waves = torch.stack([angle.cos(), angle.sin()]) / math.sqrt(side)
        ends = (frequencies % half == 0)[:, None]  # 0 and H / 2 are their own mirror images
        self.columns = _constant(waves.flatten(0, 1).t() * _shrinkage(side), dtype)
        self.rows = _constant(waves.transpose(1, 2), dtype)
        back = torch.where(ends, waves, waves * 2) / _shrinkage(side)  # l stands for -l too
        self.columns_back = _constant(back.flatten(0, 1), dtype)
        self.rows_back = _constant(torch.where(ends, waves / 2, waves), dtype)  # of both k and -k


class SpectralProducts(nn.Module):
    """`irfft2(relu(spectrum(rfft2(x))))` for pictures of one side H. The constants are made in float64.

    The transform is separable and x is real: products of x with the columns cos(lw) and sin(lw), l = 0 ... W / 2, and
    with the rows cos(kh) and sin(kh) hold the whole half spectrum. Its values at (k, l) and (-k, l) are linear in
    the four numbers at (k, l), as the 1x1 convolution behind it is, so that one convolution does both. The constant is
    the second factor of every product, where runtimes pack it ahead and convert it with the rest.

    Positions h and h + H / 2 count alike in even frequencies and with opposite signs in odd ones, which therefore need
    the sum and the difference of the two halves of x alone: half of the arithmetic along each axis, the first step of a
    fast transform. Inside, even frequencies stand before odd ones. The way back is the same in reverse.
    """

    def __init__(self, spectrum: nn.Conv2d, side: int) -> None:
        """`spectrum` has 2w channels, real, then imaginary parts; `side` H is divisible by 4."""
        super().__init__()
        assert spectrum.bias is not None
        self.side = side
        dtype = spectrum.weight.dtype
        self.even = _Waves(torch.arange(0, side // 2 + 1, 2), side, dtype)
        self.odd = _Waves(torch.arange(1, side // 2, 2), side, dtype)
        width = spectrum.weight.shape[0] // 2
        weight = spectrum.weight.double().reshape(2 * width, 2, width)  # (output, part, channel)
        parts = torch.stack([_TWIDDLE.real, _TWIDDLE.imag], 1)  # (sign, part, columns, rows)
        mix = torch.einsum("opc,splk->ksocl", weight, parts)
        unmix = torch.einsum("cd,splk->kclspd", torch.eye(width, dtype=torch.float64), parts)
        self.mix = _constant(mix.reshape(2, 4 * width, 2 * width, 1, 1), dtype)
        self.bias = _constant(spectrum.bias.repeat(2) * _shrinkage(side), dtype)
        self.unmix = _constant(unmix.reshape(2, 2 * width, 4 * width, 1, 1), dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(N, w, H H) -> (N, w, H H), positions in one row, so that runtimes keep them side by side in memory."""
        even, odd = self.even, self.odd
        a, b = _sum_and_difference(*x.unflatten(2, (-1, self.side)).chunk(2, 3))
        y = torch.cat([_to_channels(a @ even.columns), _to_channels(b @ odd.columns)], 2)  # (N, 2w, W / 2 + 1, H)
        a, b = _sum_and_difference(*y.chunk(2, 3))
        cosines, sines = (torch.cat([a @ even.rows[i], b @ odd.rows[i]], 3) for i in (0, 1))
        y = F.conv2d(cosines, self.mix[0], self.bias) + F.conv2d(sines, self.mix[1])
        y = y.relu()  # (N, 4w, W / 2 + 1, H / 2 + 1): the spectrum at (k, l), then at (-k, l)
        parities = [even.rows.shape[2], odd.rows.shape[2]]
        cosines, sines = (F.conv2d(y, self.unmix[i]).split(parities, 3) for i in (0, 1))
        a = cosines[0] @ even.rows_back[0] + sines[0] @ even.rows_back[1]
        b = cosines[1] @ odd.rows_back[0] + sines[1] @ odd.rows_back[1]
        y = torch.cat(_sum_and_difference(a, b), 3)  # (N, 2w, W / 2 + 1, H)
        a, b = (_from_channels(part) for part in y.split(parities, 2))
        return torch.cat(_sum_and_difference(a @ even.columns_back, b @ odd.columns_back), 3).flatten(2)


def _shrinkage(side: int) -> float:
    """What the spectrum is carried times: about 1 / sqrt(H), so that the zero frequency, H times the mean otherwise,
    stays in the range of half precision; a power of two, which changes no rounding in float32."""
    return 2.0 ** -(side.bit_length() // 2)


def _constant(values: Tensor, dtype: torch.dtype) -> nn.Buffer:
    return nn.Buffer(values.to(dtype).contiguous(), persistent=False)


def _sum_and_difference(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return a + b, a - b


def _to_channels(x: Tensor) -> Tensor:
    """Cosines beside sines (N, w, H, 2K) -> (N, 2w, K, H)."""
    return x.transpose(2, 3).unflatten(2, (2, -1)).flatten(1, 2)


def _from_channels(x: Tensor) -> Tensor:
    """The inverse."""
    return x.unflatten(1, (-1, 2)).flatten(2, 3).transpose(2, 3)


class SpectralTransforms(nn.Module):
    """The same with the Fourier transforms left to the exporter."""

    def __init__(self, spectrum: nn.Conv2d, side: int) -> None:
        super().__init__()
        self.side = side
        self.spectrum = spectrum

    def forward(self, x: Tensor) -> Tensor:
        """(N, w, H H) -> (N, w, H H)."""
        return irfft2(self.spectrum(rfft2(x.unflatten(2, (-1, self.side)))).relu()).flatten(2)


SPECTRAL = {"matmul": SpectralProducts, "dft": SpectralTransforms}
