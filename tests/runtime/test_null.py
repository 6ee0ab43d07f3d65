"""The engine that paints nothing."""

import numpy as np
import pytest

from cmgan.runtime.open import open_engine


def test_it_copies_the_picture():
    engine = open_engine("null")
    image = np.random.default_rng(0).integers(0, 256, (2, 512, 512, 3), dtype=np.uint8)
    mask, z = np.full((2, 512, 512), 255, np.uint8), np.zeros((2, 1), np.float32)
    output = engine(image, mask, z)
    assert (output == image).all() and not np.shares_memory(output, image)
    with pytest.raises(ValueError, match="image is"):
        engine(image[:, :100], mask, z)
    engine.close()
