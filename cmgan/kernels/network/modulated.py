"""All modulated layers of a generator together: their styles by one product, what the styles do by a launch or two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmgan.kernels.demodulate import demodulate, demodulation_rows, squares_of
from cmgan.kernels.fold import fold, fold_rows, pack, unpack
from cmgan.kernels.network.constants import constant
from cmgan.model.layers import FullyConnected, ModulatedWeight


@dataclass(frozen=True)
class Given:
    """A layer for the code in use: a library convolution's weight, and what its input and its output are multiplied
    by, (N, Ci) and (N, Co); None where the weight holds it already. `squares` (Co, Ci) are the sums over the taps of
    the weight's squares, from which a kernel makes the second one itself."""

    weight: Tensor
    squares: Tensor
    style: Tensor | None = None
    demod: Tensor | None = None


class ModulatedLayers(nn.Module):
    """The 3x3 layers of a generator. With one sample their weights are folded, with more the maps are scaled."""

    def __init__(
        self,
        layers: Sequence[ModulatedWeight],
        up: Sequence[bool],
        others: Sequence[FullyConnected],
        dtype: torch.dtype,
    ) -> None:
        """`up` says which layers upsample; `others` are affine layers of the same code, made by the same product."""
        super().__init__()
        affine = [*(layer.affine for layer in layers), *others]
        self._sizes = [len(a.bias) for a in affine]
        self.affine_weight = constant(torch.cat([a.weight for a in affine]))
        self.affine_bias = constant(torch.cat([a.bias for a in affine]))
        starts = [sum(self._sizes[:i]) for i in range(len(layers))]
        device = self.affine_weight.device
        self._groups = [[i for i, u in enumerate(up) if u == flag] for flag in (False, True)]
        self._shapes = [self._shapes_of(layers, starts, group) for group in self._groups]
        for i, name in enumerate(("plain", "transposed")):
            weights = [layers[j].weight for j in self._groups[i]]
            self.register_buffer(name, constant(pack(weights, transposed=bool(i)), dtype), persistent=False)
            self.register_buffer(f"{name}_rows", fold_rows(self._shapes[i]).to(device), persistent=False)
        self._all = self._shapes_of(layers, starts, range(len(layers)))
        self.squares = constant(squares_of([layer.weight for layer in layers]))
        self.register_buffer("rows", demodulation_rows(self._all).to(device), persistent=False)

    @staticmethod
    def _shapes_of(layers: Sequence[ModulatedWeight], starts: Sequence[int], group: Sequence[int]) -> list[int]:
        return [v for i in group for v in (*layers[i].weight.shape[:2], starts[i])]

    def forward(self, g: Tensor) -> tuple[list[Given], list[Tensor]]:
        """g float32 (N, code) -> the layers, and the vectors (N, width) of the other affine layers."""
        styles = F.linear(g, self.affine_weight, self.affine_bias)
        parts = list(styles.split(self._sizes, 1))
        layers = len(self._all) // 3
        weights = self._weights(styles)
        sizes = [out * into for out, into in zip(self._all[::3], self._all[1::3], strict=True)]
        squares = [
            part.unflatten(0, (out, -1)) for part, out in zip(self.squares.split(sizes), self._all[::3], strict=True)
        ]
        if len(g) == 1:
            return [Given(*one) for one in zip(weights, squares, strict=True)], parts[layers:]
        demods = demodulate(styles[:, None], self.squares, self.get_buffer("rows"), self._all).split(self._all[::3], 1)
        given = [Given(*one) for one in zip(weights, squares, parts[:layers], demods, strict=True)]
        return given, parts[layers:]

    def _weights(self, styles: Tensor) -> list[Tensor]:
        found: dict[int, Tensor] = {}
        for i, name in enumerate(("plain", "transposed")):
            packed, shapes = self.get_buffer(name), self._shapes[i]
            if len(styles) == 1:
                packed = fold(packed, self.get_buffer(f"{name}_rows"), styles[0], shapes, bool(i))
            found |= zip(self._groups[i], unpack(packed, shapes, transposed=bool(i)), strict=True)
        return [found[i] for i in range(len(found))]
