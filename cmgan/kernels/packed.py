"""All modulated layers of a generator in one piece of memory: styles by one product, folded weights by one launch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cmgan.kernels.fold import fold_weights, layer_views, pack, row_table
from cmgan.model.layers import ModulatedWeight

Given = tuple[Tensor, Tensor | None, Tensor]


class PackedLayers:
    """A copy of the weights, made anew whenever a parameter has changed. For one sample, without gradients."""

    def __init__(self, layers: Sequence[ModulatedWeight]) -> None:
        self._layers = list(layers)
        self._shapes = [v for layer in layers for v in (*layer.weight.shape[:3], int(layer.weight.shape[2] > 1))]
        self._state: object = None
        self._tensors: tuple[Tensor, ...] = ()

    def __call__(self, g: Tensor, folded: Sequence[bool]) -> list[Given]:
        """What each layer is given for g (1, code): a folded weight and no style, or its weight and style."""
        self._refresh()
        packed, rows, affine_weight, affine_bias = self._tensors
        styles = torch.addmm(affine_bias, g, affine_weight.t())  # (1, sum of Ci)
        plain = layer_views(packed, self._shapes)
        ready = layer_views(fold_weights(packed, rows, styles[0], self._shapes), self._shapes) if any(folded) else plain
        parts = styles.split(self._shapes[1::4], 1)
        return [
            (ready[i] if fold else plain[i], None if fold else parts[i], layer.bias)
            for i, (layer, fold) in enumerate(zip(self._layers, folded, strict=True))
        ]

    def _refresh(self) -> None:
        parameters = [p for layer in self._layers for p in (layer.weight, layer.affine.weight, layer.affine.bias)]
        counted = not any(p.is_inference() for p in parameters)  # tensors made in inference mode count no changes
        state = [(p.data_ptr(), p._version, p.dtype, p.device) for p in parameters] if counted else None
        if counted and state == self._state:
            return
        layers, device = self._layers, parameters[0].device
        self._tensors = (
            pack([layer.weight * layer.gain for layer in layers]),
            row_table(self._shapes).to(device),
            torch.cat([layer.affine.weight * layer.affine.gain for layer in layers]),
            torch.cat([layer.affine.bias * layer.affine.lr_multiplier for layer in layers]),
        )
        self._state = state
