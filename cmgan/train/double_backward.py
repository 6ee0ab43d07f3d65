"""Convolutions whose second derivatives are convolutions of the same size, for penalties on a gradient.

With y the output side, x the input side and w the weight of a convolution, the sum of y * conv(x, w) is linear in each
of the three. Its derivatives by them are all the operations that are needed:

    Forward    (x, w) -> y   the convolution;
    ToInput    (y, w) -> x   what carries a gradient back to the input, the transposed convolution;
    ToWeight   (y, x) -> w   what makes the gradient of the weight.

The derivatives of each are the other two, so they can be differentiated any number of times, always by the kernels of
an ordinary training step. PyTorch's own second derivative makes the gradient of the weight out of one convolution a
group, with a filter as large as the map: for the depthwise FIR, one a channel.

The weights of the FIR are constant, so ToWeight is never asked for there: its gradient is the FIR again, transposed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.grad import conv2d_input, conv2d_weight
from torch.overrides import TorchFunctionMode

Gradients = tuple[Tensor | None, Tensor | None, None]


@dataclass(frozen=True)
class _Geometry:
    """Of one convolution; the shapes are those that the sizes of the two others do not tell."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    groups: int
    input_shape: torch.Size
    weight_shape: torch.Size


class _Forward(Function):
    """x (N, Ci, H, W), w (Co, Ci / groups, k, k) -> y (N, Co, H', W')."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, geometry: _Geometry) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.geometry = g = geometry
        return torch.ops.aten.convolution(x, w, None, g.stride, g.padding, (1, 1), False, (0, 0), g.groups)

    @staticmethod
    def backward(ctx: Any, y: Tensor) -> Gradients:
        x, w = ctx.saved_tensors
        by_x = _ToInput.apply(y, w, ctx.geometry) if ctx.needs_input_grad[0] else None
        by_w = _ToWeight.apply(y, x, ctx.geometry) if ctx.needs_input_grad[1] else None
        return by_x, by_w, None


class _ToInput(Function):
    """y (N, Co, H', W'), w -> x (N, Ci, H, W)."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, w: Tensor, geometry: _Geometry) -> Tensor:
        ctx.save_for_backward(y, w)
        ctx.geometry = g = geometry
        return conv2d_input(g.input_shape, w, y, g.stride, g.padding, 1, g.groups)

    @staticmethod
    def backward(ctx: Any, x: Tensor) -> Gradients:
        y, w = ctx.saved_tensors
        by_y = _Forward.apply(x, w, ctx.geometry) if ctx.needs_input_grad[0] else None
        by_w = _ToWeight.apply(y, x, ctx.geometry) if ctx.needs_input_grad[1] else None
        return by_y, by_w, None


class _ToWeight(Function):
    """y (N, Co, H', W'), x (N, Ci, H, W) -> w (Co, Ci / groups, k, k)."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor, geometry: _Geometry) -> Tensor:
        ctx.save_for_backward(y, x)
        ctx.geometry = g = geometry
        return conv2d_weight(x, g.weight_shape, y, g.stride, g.padding, 1, g.groups)

    @staticmethod
    def backward(ctx: Any, w: Tensor) -> Gradients:
        y, x = ctx.saved_tensors
        by_y = _Forward.apply(x, w, ctx.geometry) if ctx.needs_input_grad[0] else None
        by_x = _ToInput.apply(y, w, ctx.geometry) if ctx.needs_input_grad[1] else None
        return by_y, by_x, None


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
) -> Tensor:
    """`torch.conv2d` without dilation, in the types that autocast would choose.

    Args:
        input: (N, Ci, H, W). weight: (Co, Ci / groups, k, k). bias: (Co,).

    Returns:
        (N, Co, H', W').
    """
    x, w = _cast(input, weight)
    y: Tensor = _Forward.apply(x, w, _Geometry(_pair(stride), _pair(padding), groups, x.shape, w.shape))
    return _biased(y, bias)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
) -> Tensor:
    """`torch.conv_transpose2d` without dilation, in the types that autocast would choose.

    Args:
        input: (N, Ci, H, W). weight: (Ci, Co / groups, k, k). bias: (Co,).

    Returns:
        (N, Co, H', W').
    """
    y, w = _cast(input, weight)
    strides, paddings, more = _pair(stride), _pair(padding), _pair(output_padding)
    sides = [(side - 1) * strides[i] - 2 * paddings[i] + w.shape[2 + i] + more[i] for i, side in enumerate(y.shape[2:])]
    shape = torch.Size((y.shape[0], w.shape[1] * groups, *sides))
    x: Tensor = _ToInput.apply(y, w, _Geometry(strides, paddings, groups, shape, w.shape))
    return _biased(x, bias)


class TwiceDifferentiable(TorchFunctionMode):
    """In this context `torch.conv2d` and `torch.conv_transpose2d` are the ones above, whoever calls them.

    So the network stays as it is written; the graph that its forward pass leaves has the cheap second derivative.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _OURS.get(func, func)(*args, **(kwargs or {}))


_OURS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.conv2d: conv2d,
    torch.conv_transpose2d: conv_transpose2d,
}


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _cast(*tensors: Tensor) -> list[Tensor]:
    """What autocast does in front of a convolution: float64 stays."""
    device = tensors[0].device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return list(tensors)
    chosen = torch.get_autocast_dtype(device)
    return [t if t.dtype == torch.float64 else t.to(chosen) for t in tensors]


def _biased(y: Tensor, bias: Tensor | None) -> Tensor:
    return y if bias is None else y + bias.to(y.dtype)[:, None, None]
