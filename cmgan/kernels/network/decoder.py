"""The decoder on kernels: library convolutions with one pass behind each, and none in front."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmgan.kernels.choose import way_of
from cmgan.kernels.demodulate import demodulate, demodulation_rows, squares_of
from cmgan.kernels.epilogue import epilogue, scaling_epilogue
from cmgan.kernels.modconv2d import modconv2d
from cmgan.kernels.network.constants import bias_of, constant, map_weight
from cmgan.kernels.network.layer import layer
from cmgan.kernels.network.modulated import Given
from cmgan.kernels.spatial import spatial_epilogue
from cmgan.kernels.to_rgb import to_rgb
from cmgan.model.decoder import Cascade, MaskedAttention
from cmgan.model.functional import Level

_FEW_TILES = 128  # sums of so many tiles are added where they are used, of more by a launch of their own
_UNKNOWN = 1e4  # taken off the logits of missing positions: exp(-1e4) is 0 in every precision


@dataclass(frozen=True)
class Styles:
    """What the code gives one cascade: its layers, `second` only where it has one; to-RGB's style and alpha (N, C);
    and the styles that the next cascade's first layers want on their inputs."""

    first: Given
    second: Given | None
    spatial: Given
    rgb: Tensor
    alpha: Tensor
    next_global: Tensor | None
    next_spatial: Tensor | None


class KernelCascade(nn.Module):
    """One scale: as `Cascade.forward` and `Cascade.paint`. The inputs come times the styles of the first layers."""

    def __init__(self, cascade: Cascade, dtype: torch.dtype) -> None:
        super().__init__()
        first, second, block = cascade.global_block.first, cascade.global_block.second, cascade.spatial_block
        self.up = block.up
        self.bias = constant(first.bias)
        self.second_bias = None if second is None else constant(second.bias)
        self.spatial_bias = constant(block.first.bias)
        self.first_noise = constant(block.first_noise(1, False), dtype)
        self.second_noise = constant(block.second_noise(1, False), dtype)
        self.hidden = map_weight(block.affine_hidden.weight, dtype)
        self.hidden_bias = constant(bias_of(block.affine_hidden))
        self.maps = map_weight(block.affine_out.weight, dtype)
        self.shift_bias = constant(bias_of(block.affine_out).chunk(2)[1])
        self.kernel = map_weight(block.second.weight, dtype)
        self.squares = constant(squares_of([block.second.weight]))
        self._shapes = [*block.second.weight.shape[:2], 0]
        self.register_buffer("rows", demodulation_rows(self._shapes).to(self.squares.device), persistent=False)
        self.attention = None if cascade.attention is None else KernelAttention(cascade.attention, dtype)
        self.rgb = constant(cascade.rgb.weight.flatten(1), dtype)
        self.rgb_bias = constant(cascade.rgb.bias)

    def forward(
        self,
        f_g: Tensor,
        f_s: Tensor,
        f_e: Tensor,
        styles: Styles,
        missing: Tensor | None,
        rgb: Tensor | None,
        level: Level | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """f_g, f_s, the encoder's f_e, `missing` as `missing_positions` gives it, the coarser picture, and the level of
        the known pyramid -> f_g, f_s times the next layers' styles, and the picture of this scale."""
        x, f_g = self._global(f_g, f_e, styles)
        y, terms = self._spatial(f_s, x, styles)
        style = styles.next_spatial
        if self.attention is None and style is not None:
            f_s, scaled = scaling_epilogue(F.conv2d(y, self.kernel, padding=1), *terms, style)
        else:
            f_s = layer(y, self.kernel, *terms)
            if self.attention is not None:
                assert missing is not None
                f_s = self.attention(f_s, missing)
            scaled = f_s if style is None else f_s * style[:, :, None, None].to(f_s.dtype)
        return f_g, scaled, to_rgb(f_s, self.rgb, styles.rgb, self.rgb_bias, rgb, *level or ())

    def _convolved(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.conv_transpose2d(x, weight, stride=2) if self.up else F.conv2d(x, weight, padding=1)

    def _global(self, f_g: Tensor, f_e: Tensor, styles: Styles) -> tuple[Tensor, Tensor]:
        """X, and the next F_g, which is X where there is no second layer."""
        y = self._convolved(f_g, styles.first.weight)
        terms = styles.first.demod, self.bias, f_e, None
        second = styles.second
        if second is None:
            x = epilogue(y, *terms, None, self.up)
            return x, x
        if second.style is None:
            x = epilogue(y, *terms, None, self.up)
            return x, layer(x, second.weight, None, self.second_bias, after=styles.next_global)
        if way_of(f_e, second.weight) == "fused":  # modulates and demodulates by itself
            x = epilogue(y, *terms, None, self.up)
            bias, after = self.second_bias, styles.next_global
            return x, modconv2d(x, second.weight, second.style, second.squares, None, bias, None, None, after)
        x, scaled = scaling_epilogue(y, *terms, second.style, self.up)
        return x, layer(scaled, second.weight, second.demod, self.second_bias, after=styles.next_global)

    def _spatial(self, f_s: Tensor, x: Tensor, styles: Styles) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """The second layer's input and what follows its convolution: demodulation, bias, shift map, noise."""
        y = self._convolved(f_s, styles.spatial.weight)
        hidden = layer(x, self.hidden, None, self.hidden_bias)
        scale_map, shift_map = F.conv2d(hidden, self.maps).chunk(2, 1)
        terms = styles.spatial.demod, self.spatial_bias, self.first_noise
        scaled, sums = spatial_epilogue(y, *terms, scale_map, styles.alpha, self.up)
        if sums.shape[1] > _FEW_TILES:
            sums = sums.sum(1, keepdim=True)
        positions = x.shape[2] * x.shape[3]
        demod = demodulate(sums, self.squares, self.get_buffer("rows"), self._shapes, 1 / positions)
        return scaled, (demod, self.shift_bias, shift_map, self.second_noise)


class KernelAttention(nn.Module):
    """`MaskedAttention` in four launches. The rows of the softmax add up to one: the last layer may as well be applied
    to the values, its bias included, before they are mixed."""

    def __init__(self, attention: MaskedAttention, dtype: torch.dtype) -> None:
        super().__init__()
        query, key, value, leave = (
            (conv.weight.flatten(1), bias_of(conv))
            for conv in (attention.query, attention.key, attention.value, attention.leave)
        )
        left = leave[0] @ value[0] * attention.gain, (leave[0] @ value[1] + leave[1]) * attention.gain
        self.weight = constant(torch.cat([query[0], key[0], left[0]]), dtype)
        self.bias = constant(torch.cat([query[1], key[1], left[1]]), dtype)

    def forward(self, x: Tensor, missing: Tensor) -> Tensor:
        """x (N, C, H, W), missing (N, 1, H, W), 0 or -1, of one dtype -> (N, C, H, W)."""
        rows = x.permute(0, 2, 3, 1).flatten(1, 2)  # (N, HW, C), no copy
        made = torch.addmm(self.bias, rows.flatten(0, 1), self.weight.t())
        q, k, v = made.unflatten(0, rows.shape[:2]).chunk(3, 2)
        keys = missing.flatten(2)
        logits = torch.baddbmm(keys, q, k.transpose(1, 2), beta=_UNKNOWN, alpha=1 / math.sqrt(x.shape[1]))
        mixed = torch.baddbmm(rows, logits.softmax(2), v)
        return mixed.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)


def missing_positions(mask: Tensor, sides: list[int], dtype: torch.dtype) -> dict[int, Tensor]:
    """What is taken off the keys of attention at each side: (N, 1, side, side), -1 where no pixel under a position is
    known, 0 elsewhere, and everywhere if nothing at all is known. `sides` fine to coarse, a half each."""
    if not sides:
        return {}
    missing = F.max_pool2d(-mask.to(dtype), mask.shape[2] // sides[0])
    found = {sides[0]: missing - missing.amax((2, 3), keepdim=True)}
    for side in sides[1:]:
        found[side] = F.max_pool2d(found[2 * side], 2)
    return found
