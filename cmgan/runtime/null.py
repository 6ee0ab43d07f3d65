"""The engine that paints nothing: it copies the picture. What is left of a request's time is everything else's."""

from __future__ import annotations

import numpy as np

from cmgan.runtime.engine import EngineInfo, check_inputs

NAME, ABOUT = "null", "copies the picture, to measure everything but the network"


class NullEngine:
    """See `cmgan.runtime.engine.Engine`; 512 x 512."""

    def __init__(self) -> None:
        self.info = EngineInfo(
            format=NAME, name=NAME, resolution=512, z_dim=1, precision="fp32", trained=True, weights_sha256=""
        )

    def __call__(self, image: np.ndarray, mask: np.ndarray, z: np.ndarray) -> np.ndarray:
        check_inputs(self.info, image, mask, z)
        return image.copy()

    def close(self) -> None:
        """It holds nothing."""
