"""The number of launches, which a GPU user waits for at batch 1."""

from dataclasses import replace

import pytest

pytest.importorskip("triton", reason="Triton has no package for this platform")

import torch

from cmgan.config import preset
from tools.launches import LaunchCount, launches

BAR = 250  # of small-512 at batch 1


def test_what_computes_counts_and_what_does_not_does_not():
    x, weight = torch.zeros(1, 4, 8, 8, device="meta"), torch.zeros(4, 4, 1, 1, device="meta")
    with LaunchCount() as count:
        torch.conv2d(x, weight).transpose(1, 2)[0].flatten()  # one, and a copy
        torch.conv2d(x, weight, weight[:, 0, 0, 0])  # a convolution, and its bias
        torch.empty_like(x)
    assert count.launches == {"aten.convolution.default": 3, "aten.clone.default": 1}


def test_one_picture_on_kernels():
    found = launches(replace(preset("small-512"), fill="none"), "kernels", 1)
    assert found.total() <= BAR
    assert found["cmgan.fold.default"] == 2 and found["cmgan.stem.default"] == 1
    assert found.total() * 4 < launches(preset("small-512"), "reference", 1).total()
