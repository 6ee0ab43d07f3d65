"""The discriminator: the residual network of StyleGAN2 (Karras et al. 2020, figure 7c) on picture and mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from cmgan.config import GeneratorConfig
from cmgan.model.functional import MERGE, activate, filter_before_halving
from cmgan.model.layers import Conv, FullyConnected

GROUP = 4  # pictures whose spread is measured together (Karras et al. 2018, section 3)


def minibatch_deviation(x: Tensor) -> Tensor:
    """Append how much the pictures of a group differ: (N, C, H, W) -> (N, C + 1, H, W).

    The standard deviation over the group at every channel and position, averaged to one number a group (Karras et al.
    2018, section 3). Groups are neighbours in the batch, of the largest size up to 4 that divides it.
    """
    n, _, height, width = x.shape
    size = max(g for g in range(1, GROUP + 1) if n % g == 0)
    groups = x.unflatten(0, (n // size, size))  # (groups, size, C, H, W)
    deviation = (groups.var(1, correction=0) + 1e-8).sqrt().mean((1, 2, 3))  # (groups,)
    spread = deviation.repeat_interleave(size)[:, None, None, None].expand(n, 1, height, width)
    return torch.cat([x, spread], 1)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, the second one halving, beside a 1x1 shortcut."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.first = Conv(channels_in, channels_in, 3)
        self.second = Conv(channels_in, channels_out, 3)
        self.shortcut = Conv(channels_in, channels_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, Ci, H, H) -> (N, Co, H / 2, H / 2)."""
        y = activate(self.first(x, padding=1))
        y = activate(self.second(filter_before_halving(y), stride=2))
        centres = filter_before_halving(x)[:, :, 1::2, 1::2]  # where the halving 3x3 windows have their centres
        return (y + self.shortcut(centres)) * MERGE


class Discriminator(nn.Module):
    """Judges pictures of the generator of the same configuration.

    With `spectral` every layer has spectral norm 1 (Miyato et al. 2018), which takes the place of its equalised gain.
    """

    def __init__(self, config: GeneratorConfig, *, spectral: bool = False) -> None:
        super().__init__()
        widths = [config.channels(r) for r in config.scales[::-1]]  # fine to coarse, the last one at 4x4
        self.stem = Conv(4, widths[0], 1)
        self.blocks = nn.ModuleList(ResidualBlock(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.last_conv = Conv(widths[-1] + 1, widths[-1], 3)
        self.hidden = FullyConnected(widths[-1] * 16, widths[-1])
        self.score = FullyConnected(widths[-1], 1)
        if spectral:
            for layer in [m for m in self.modules() if isinstance(m, Conv | FullyConnected)]:
                spectral_norm(layer)
                layer.gain = 1.0

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """One realism score a picture.

        Args:
            image: (N, 3, R, R) in [-1, 1], composited or real.
            mask: (N, 1, R, R), 1 in the hole.

        Returns:
            (N,), unbounded; higher is more real. It depends on the other pictures of the same group of the batch.
        """
        x = activate(self.stem(torch.cat([image, mask], 1)))
        for block in self.blocks:
            x = block(x)
        x = activate(self.last_conv(minibatch_deviation(x), padding=1))
        return self.score(activate(self.hidden(x.flatten(1)))).squeeze(1)
