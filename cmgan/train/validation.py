"""How good the averaged generator is on pictures that it is not trained on, always the same with the same holes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cmgan.model.generator import Generator
from cmgan.train import losses
from cmgan.train.config import LossSection
from cmgan.train.data.samples import TrainingSet
from cmgan.train.perceptual import Perceptual
from cmgan.train.steps import Batch

_BATCH = 8  # pictures a forward pass


class Validation:
    """The first `count` samples of `samples`, and the losses of a generator on them."""

    def __init__(
        self,
        samples: TrainingSet,
        count: int,
        options: LossSection,
        perceptual: Perceptual | None,
        device: torch.device,
    ) -> None:
        self.samples, self._options, self._perceptual, self._device = samples, options, perceptual, device
        self._count = min(count, len(samples))

    @torch.no_grad()
    def __call__(self, generator: Generator) -> dict[str, float]:
        """Means over the pictures: the L1 distance in the hole, `validation_l1_hole`, the perceptual distance,
        `validation_perceptual`, where training has one, and their sum weighted as in training, `validation`."""
        draws = torch.Generator().manual_seed(0)
        hole, features = 0.0, 0.0
        for first in range(0, self._count, _BATCH):
            batch = self._batch(range(first, min(first + _BATCH, self._count)))
            z = torch.randn(len(batch.image), generator.config.z_dim, generator=draws).to(self._device)
            raw = generator(batch.image, batch.mask, z)
            share = len(batch.image) / self._count
            hole += share * losses.reconstruction(raw, batch.image, batch.mask)[0].item()
            if self._perceptual is not None:
                picture = losses.painted(raw, batch.image, batch.mask)
                features += share * self._perceptual(picture, batch.image).item()
        terms = {"validation_l1_hole": hole}
        if self._perceptual is not None:
            terms["validation_perceptual"] = features
        return terms | {"validation": self._options.l1_hole * hole + self._options.perceptual * features}

    def _batch(self, indices: range) -> Batch:
        samples = [self.samples.item(0, index) for index in indices]

        def stacked(arrays: list[np.ndarray]) -> Tensor:
            return torch.from_numpy(np.stack(arrays))

        image, hole = stacked([s["image"] for s in samples]), stacked([s["hole"] for s in samples])
        return Batch.of({"image": image, "hole": hole}, self._device)
