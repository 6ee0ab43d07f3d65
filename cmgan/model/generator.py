"""The generator of CM-GAN: encoder, codes, cascaded decoder (Zheng et al., ECCV 2022, figure 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cmgan.config import GeneratorConfig
from cmgan.model.decoder import Cascade
from cmgan.model.encoder import Encoder
from cmgan.model.functional import ACTIVATION_SPACE, Level, Ops, composite, fill, known_pyramid
from cmgan.model.layers import FullyConnected, Mapping, ModulatedWeight, normalise_second_moment


class Generator(nn.Module):
    """Fills the hole of an R x R picture.

    `ops` is the table of operations in use: `functional.ACTIVATION_SPACE`, `functional.WEIGHT_SPACE`, or a faster one
    with the same signatures. A new generator has the initialisation for training.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.ops: Ops = ACTIVATION_SPACE
        self.encoder = Encoder(config)
        c4, code = config.channels(4), 2 * config.w_dim
        self.style = FullyConnected(c4 * 16, config.w_dim)
        self.mapping = Mapping(config.z_dim, config.w_dim, config.mapping_layers)
        self.start_global = FullyConnected(config.w_dim, c4 * 16)
        self.start_spatial = FullyConnected(config.w_dim, c4 * 16)
        self.cascades = nn.ModuleList(
            Cascade(
                config.channels(max(r // 2, 4)),
                config.channels(r),
                code,
                r,
                up=r > 4,
                last=r == config.resolution,
                attention=r <= config.attention_resolution,
            )
            for r in config.scales
        )

    @property
    def modulated(self) -> list[ModulatedWeight]:
        """The layers that the global code modulates, coarse to fine."""
        return [layer for cascade in self.cascades if isinstance(cascade, Cascade) for layer in cascade.modulated]

    def forward(self, image: Tensor, mask: Tensor, z: Tensor, *, random_noise: bool = False) -> Tensor:
        """The raw picture, neither clamped nor composited.

        Args:
            image: (N, 3, R, R) in [-1, 1]; what it holds in the hole is not looked at.
            mask: (N, 1, R, R), 1 in the hole, 0 where the picture is known.
            z: (N, z_dim), drawn from N(0, 1).
            random_noise: draw the noise maps anew (training) instead of using the constant ones.

        Returns:
            (N, 3, R, R).
        """
        rgb: Tensor | None = None
        levels: list[Level] | list[None] = [None] * len(self.cascades)
        if self.config.fill == "pyramid":
            pyramid = known_pyramid(image, mask)
            filled = fill(pyramid, self.ops.enlarge)
            image, rgb, levels = filled[-1], filled[1], pyramid[2:]  # the picture to paint on begins at the side of 2
        else:
            image = image.masked_fill(mask > 0.5, 0)
        features = self.encoder(image, mask, self.ops)
        s = normalise_second_moment(self.style(features[0].flatten(1)))
        g = torch.cat([s, self.mapping(z)], 1)
        f_g = self.start_global(s).unflatten(1, (-1, 4, 4))
        f_s = self.start_spatial(s).unflatten(1, (-1, 4, 4))
        layers = self.modulated
        given = dict(zip(layers, self.ops.modulate(layers, g), strict=True))
        for cascade, f_e, level in zip(self.cascades, features, levels, strict=True):
            assert isinstance(cascade, Cascade)
            f_g, f_s = cascade(f_g, f_s, f_e, g, given, mask, self.ops, random_noise)
            rgb = cascade.paint(rgb, f_s, given, self.ops, level)
        assert rgb is not None
        return rgb

    def complete(self, image: Tensor, mask: Tensor, z: Tensor) -> Tensor:
        """The finished picture (N, 3, R, R) in [-1, 1]: generated in the hole, the input's own pixels elsewhere."""
        return composite(self(image, mask, z), image, mask)
