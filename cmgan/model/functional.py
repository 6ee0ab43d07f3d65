"""The operations of the network as plain functions of tensors. They are the reference for every faster version.

Shapes are written (N, C, H, W); N is the batch. `Ops`, at the end, is the table through which the modules call them: an
exporter or a kernel library hands the generator another table with the same signatures, and the modules stay as is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SLOPE = 0.2  # leaky ReLU
GAIN = math.sqrt(2)  # keeps the variance of a leaky ReLU's output near one
CLAMP = 256 * GAIN  # the StyleGAN2 limit that keeps half precision from overflowing
MERGE = math.sqrt(0.5)  # keeps the variance where two branches are added
DEMODULATION_EPSILON = 1e-8  # inside the square root


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU 0.2, gain sqrt 2, clamp at 256 x gain; any shape."""
    return F.hardtanh(F.leaky_relu(x, SLOPE) * GAIN, -CLAMP, CLAMP)  # a clamp with the cheaper backward pass


# -- fixed low-pass filter (StyleGAN2, section 2 and appendix B) -----------------------------------------------------


def fir(channels: int, like: Tensor) -> Tensor:
    """outer([1, 3, 3, 1]) / 64 as depthwise convolution weights (C, 1, 4, 4)."""
    i = torch.arange(4, dtype=like.dtype, device=like.device)
    taps = 1 + i * (3 - i)  # made on the device: a CUDA graph cannot capture a copy from the host
    return (torch.outer(taps, taps) / 64).expand(channels, 1, 4, 4)


def upsample(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, 2H, 2W): zero insertion, FIR with gain 4."""
    channels = x.shape[1]
    return F.conv_transpose2d(x, fir(channels, x) * 4, stride=2, padding=1, groups=channels)


def filter_before_halving(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, H + 1, W + 1): FIR, padded so that a 3x3 convolution of stride 2 gives (H / 2, W / 2)."""
    channels = x.shape[1]
    return F.conv2d(x, fir(channels, x), padding=2, groups=channels)


def transposed_conv2d(x: Tensor, weight: Tensor, groups: int = 1) -> Tensor:
    """(N, Ci, H, W) -> (N, Co, 2H + 1, 2W + 1): the 3x3 convolution of the zero-inserted picture, stride 2.

    `weight` has an ordinary convolution's layout (Co, Ci, 3, 3). The transposed convolution is the ordinary one on the
    zero-inserted picture, so its taps are flipped; with groups, (groups * Co, Ci, 3, 3) as in `torch.conv2d`.
    """
    taps = weight.flip(2, 3).unflatten(0, (groups, weight.shape[0] // groups))  # (g, Co/g, Ci, 3, 3)
    return F.conv_transpose2d(x, taps.transpose(1, 2).flatten(0, 1), stride=2, groups=groups)


def filter_after_doubling(y: Tensor) -> Tensor:
    """(N, C, 2H + 1, 2W + 1) -> (N, C, 2H, 2W): the FIR with gain 4 behind `transposed_conv2d`."""
    channels = y.shape[1]
    return F.conv2d(y, fir(channels, y) * 4, padding=1, groups=channels)


def upsampling_conv2d(x: Tensor, weight: Tensor, groups: int = 1) -> Tensor:
    """(N, Ci, H, W) -> (N, Co, 2H, 2W): transposed 3x3 convolution of stride 2, then FIR with gain 4."""
    return filter_after_doubling(transposed_conv2d(x, weight, groups))


# -- modulated convolution (StyleGAN2, section 2.2; CM-GAN, figure 3) ------------------------------------------------


def demodulation_of_energy(weight: Tensor, energy: Tensor) -> Tensor:
    """1 / sqrt(sum_ik e_i w_oik^2 + eps): weight (Co, Ci, k, k), energy of the input channels (N, Ci) -> (N, Co).

    Computed in float32 at least: in half precision the sum overflows, and 1 / sqrt(inf) silences a channel unseen.
    """
    wide = torch.promote_types(weight.dtype, torch.float32)
    return torch.rsqrt(energy.to(wide) @ weight.to(wide).square().sum((2, 3)).t() + DEMODULATION_EPSILON)


def demodulation(weight: Tensor, style: Tensor) -> Tensor:
    """d_o = 1 / sqrt(sum_ik (s_i w_oik)^2 + eps): weight (Co, Ci, k, k), style (N, Ci) -> (N, Co)."""
    wide = torch.promote_types(weight.dtype, torch.float32)
    return demodulation_of_energy(weight, style.to(wide).square()).to(style.dtype)


def modulated_conv2d(
    x: Tensor, weight: Tensor, style: Tensor, *, demodulate: bool = True, up: bool = False, form: str = "activation"
) -> Tensor:
    """Convolution whose weights are scaled for each sample and input channel, then normalised for each output channel.

    Args:
        x: (N, Ci, H, W).
        weight: (Co, Ci, k, k), k odd.
        style: (N, Ci), the modulation s.
        demodulate: normalise to unit norm an output channel.
        up: upsample by 2 in the convolution (3x3 only).
        form: "activation" scales the input and the output around one convolution with shared weights;
            "weight" makes the weights of every sample and runs a grouped convolution. Equal but for rounding.

    Returns:
        (N, Co, H, W), or (N, Co, 2H, 2W) with `up`.
    """
    if form == "activation":
        y = _conv2d(x * style[:, :, None, None], weight, up=up)
        return y * demodulation(weight, style)[:, :, None, None] if demodulate else y
    if form == "weight":
        n, channels_in = style.shape
        w = weight * style[:, None, :, None, None]  # (N, Co, Ci, k, k)
        if demodulate:
            w = w * demodulation(weight, style)[:, :, None, None, None]
        grouped = x.reshape(1, n * channels_in, *x.shape[2:])  # (1, N * Ci, H, W)
        y = _conv2d(grouped, w.flatten(0, 1), up=up, groups=n)  # (1, N * Co, H', W')
        return y.reshape(n, -1, *y.shape[2:])
    raise ValueError(f"form {form!r}: 'activation' or 'weight' is needed")


def _conv2d(x: Tensor, weight: Tensor, *, up: bool, groups: int = 1) -> Tensor:
    if up:
        return upsampling_conv2d(x, weight, groups)
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=groups)


def modulated_layer(
    x: Tensor,
    weight: Tensor,
    style: Tensor,
    bias: Tensor,
    *,
    residual: Tensor | None = None,
    noise: Tensor | None = None,
    up: bool = False,
    form: str = "activation",
) -> Tensor:
    """Modulate, convolve, demodulate, add, activate: one layer of GB, or the first of SB.

    Args:
        x: (N, Ci, H, W). weight: (Co, Ci, 3, 3). style: (N, Ci). bias: (Co,).
        residual: (N, Co, H', W'), the encoder's feature of that scale (GB).
        noise: (N or 1, 1, H', W'), already scaled by its strength (SB).

    Returns:
        (N, Co, H', W'), H' = 2H with `up`, else H.
    """
    y = modulated_conv2d(x, weight, style, up=up, form=form)
    y = y + bias.to(y.dtype)[:, None, None]  # under autocast, float32 terms would make float32 maps
    if residual is not None:
        y = y + residual
    if noise is not None:
        y = y + noise.to(y.dtype)
    return activate(y)


def spatial_demodulation(weight: Tensor, scale: Tensor) -> Tensor:
    """D_o = 1 / sqrt(sum_ik w_oik^2 E[A_i^2] + eps), E the mean over positions: weight (Co, Ci, k, k),
    scale A (N, Ci, H, W) -> (N, Co). CM-GAN, section 3.2; it assumes that the modulated input has unit variance."""
    wide = torch.promote_types(weight.dtype, torch.float32)
    return demodulation_of_energy(weight, scale.to(wide).square().mean((2, 3))).to(scale.dtype)


def spatial_layer(
    y: Tensor, weight: Tensor, scale_map: Tensor, alpha: Tensor, shift_map: Tensor, noise: Tensor
) -> Tensor:
    """Spatial modulation, the second layer of SB: activate(D * conv(Y * A, K) + B + n), A = A0 + alpha.

    Args:
        y: (N, C, H, W). weight K: (C, C, 3, 3). scale_map A0 and shift_map B: (N, C, H, W). alpha: (N, C).
        noise: (N or 1, 1, H, W), already scaled by its strength.

    Returns:
        (N, C, H, W).
    """
    scale = scale_map + alpha[:, :, None, None]
    z = F.conv2d(y * scale, weight, padding=1)
    return activate(z * spatial_demodulation(weight, scale)[:, :, None, None] + shift_map + noise.to(z.dtype))


# What a modulated layer is given: weight (Co, Ci, k, k), style (N, Ci), bias (Co,). A faster `modulate` of one sample
# may work the style into the weight and give None in its place; only the table that it belongs to understands that.
Modulated = tuple[Tensor, Tensor, Tensor]


def modulate(layers: Sequence[Callable[[Tensor], Modulated]], g: Tensor) -> list[Modulated]:
    """What every modulated layer is given for the global code g (N, code)."""
    return [layer(g) for layer in layers]


def global_layers(
    f_g: Tensor, first: Modulated, second: Modulated | None, f_e: Tensor, *, up: bool, form: str = "activation"
) -> tuple[Tensor, Tensor]:
    """The layers of GB: f_g (N, Ci, H, H), f_e (N, C, H', H') -> X and the next F_g, both (N, C, H', H').

    Without a second layer F_g is X.
    """
    x = modulated_layer(f_g, *first, residual=f_e, up=up, form=form)
    return x, x if second is None else modulated_layer(x, *second, form=form)


def spatial_layers(
    f_s: Tensor,
    first: Modulated,
    kernel: Tensor,
    maps: tuple[Tensor, Tensor, Tensor],
    noises: tuple[Tensor, Tensor],
    *,
    up: bool,
    form: str = "activation",
) -> Tensor:
    """The layers of SB.

    Args:
        f_s: (N, Ci, H, H). kernel K: (C, C, 3, 3).
        maps: A0 (N, C, H', H'), alpha (N, C) and B (N, C, H', H') of the second layer.
        noises: of the first and the second layer, (N or 1, 1, H', H'), already scaled by their strengths.

    Returns:
        The next F_s (N, C, H', H').
    """
    y = modulated_layer(f_s, *first, noise=noises[0], up=up, form=form)
    return spatial_layer(y, kernel, *maps, noises[1])


def to_rgb(x: Tensor, weight: Tensor, style: Tensor, bias: Tensor) -> Tensor:
    """Modulated 1x1 convolution without demodulation: (N, C, H, W) -> (N, 3, H, W)."""
    return modulated_conv2d(x, weight, style, demodulate=False) + bias[:, None, None]


# -- Fourier transforms of the FFC (Chi et al. 2020; LaMa, Suvorov et al. 2021) --------------------------------------


def rfft2(x: Tensor) -> Tensor:
    """Orthonormal real transform: (N, C, H, W) -> (N, 2C, H, W / 2 + 1), real parts, then imaginary parts.

    In float32 at least: the sum behind the zero frequency overflows half precision.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    f = torch.fft.rfft2(x.to(wide), norm="ortho")
    return torch.cat([f.real, f.imag], 1).to(x.dtype)


def irfft2(x: Tensor) -> Tensor:
    """The inverse, for square pictures: (N, 2C, H, H / 2 + 1) -> (N, C, H, H)."""
    side = x.shape[2]
    real, imaginary = x.to(torch.promote_types(x.dtype, torch.float32)).chunk(2, 1)
    return torch.fft.irfft2(torch.complex(real, imaginary), s=(side, side), norm="ortho").to(x.dtype)


# -- mask and attention ----------------------------------------------------------------------------------------------


def known_at(mask: Tensor, scale: int) -> Tensor:
    """Known positions of a coarser scale: mask (N, 1, R, R), 1 in the hole -> (N, 1, scale, scale), 1 where any pixel
    under the position is known."""
    return F.max_pool2d(1 - mask, mask.shape[-1] // scale)


def attend(q: Tensor, k: Tensor, v: Tensor, known: Tensor) -> Tensor:
    """Softmax attention whose keys and values are the known positions; all of them where none is known.

    Args:
        q, k, v: (N, L, C). known: (N, 1, L), 1 or 0.

    Returns:
        (N, L, C).
    """
    keys = torch.maximum(known, 1 - known.amax(2, keepdim=True))
    logits = q @ k.transpose(1, 2) / math.sqrt(q.shape[2]) + (keys - 1) * 1e4  # exp(-1e4) is 0 in every precision
    return logits.softmax(2) @ v


# -- known pyramid (this project's addition) -------------------------------------------------------------------------

# The known pixels at one scale: their averages (N, 3, r, r), 0 where there are none, and where there are some
# (N, 1, r, r), bool.
Level = tuple[Tensor, Tensor]


def known_pyramid(image: Tensor, mask: Tensor) -> list[Level]:
    """The known pixels at the sides 1, 2, 4 ... R. A cell is the average of those of the four cells below it that have
    any known pixel, however many.

    Args:
        image: (N, 3, R, R); what it holds in the hole is not looked at. mask: (N, 1, R, R), 1 in the hole.
    """
    known = mask <= 0.5
    average = image.masked_fill(~known, 0)
    levels = [(average, known)]
    while average.shape[2] > 1:
        share = F.avg_pool2d(known.to(average.dtype), 2)  # a multiple of 1/4, exact in every precision
        known = share > 0
        average = F.avg_pool2d(average, 2) / share.clamp_min(0.25)  # 0 / 0.25 where nothing is known
        levels.append((average, known))
    return levels[::-1]


def fill(levels: list[Level], enlarge: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Push-pull (Gortler et al. 1996): cells without a known pixel take the next coarser scale, enlarged.

    Returns:
        The filled pictures (N, 3, r, r) of the sides 1, 2, 4 ... R; grey where nothing at all is known.
    """
    filled = [levels[0][0]]
    for average, known in levels[1:]:
        filled.append(torch.where(known, average, enlarge(filled[-1])))
    return filled


def enlarge(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, 2H, 2W): what `upsample` is but at the border, where pixels outside count as the nearest
    inside, not as 0: a fill must not fade."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


# -- output ----------------------------------------------------------------------------------------------------------


def composite(raw: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """The picture: `raw` clamped to [-1, 1] in the hole (mask 1), the input's own pixels elsewhere.

    By selection, not by multiplication, so that the known pixels are exact whatever `raw` holds.
    """
    return torch.where(mask > 0.5, raw.clamp(-1, 1), image)


# -- the table -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ops:
    """The operations that a faster implementation may replace, with the signatures of the functions above."""

    modulate: Callable[..., list[Any]] = modulate  # of what the table's own layers are given
    global_layers: Callable[..., tuple[Tensor, Tensor]] = global_layers
    spatial_layers: Callable[..., Tensor] = spatial_layers
    to_rgb: Callable[..., Tensor] = to_rgb
    upsample: Callable[[Tensor], Tensor] = upsample
    enlarge: Callable[[Tensor], Tensor] = enlarge
    filter_before_halving: Callable[[Tensor], Tensor] = filter_before_halving
    rfft2: Callable[[Tensor], Tensor] = rfft2
    irfft2: Callable[[Tensor], Tensor] = irfft2


ACTIVATION_SPACE = Ops()
WEIGHT_SPACE = Ops(
    global_layers=partial(global_layers, form="weight"), spatial_layers=partial(spatial_layers, form="weight")
)
