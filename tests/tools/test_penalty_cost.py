"""The operators of a penalised step, bounded. Its seconds are a figure, not a test."""

import pytest
import torch

from cmgan.config import PRESETS
from cmgan.model.discriminator import Discriminator
from cmgan.model.layers import Conv
from tools.penalty_cost import OURS, PLAIN, PYTORCH, Operators, counted


def test_operators_are_counted_below_autograd():
    x, w = torch.randn(1, 2, 5, 5, device="meta", requires_grad=True), torch.randn(3, 2, 3, 3, device="meta")
    with Operators() as count:
        torch.conv2d(x, w).relu().sum().backward()
    assert count.convolutions == 2  # forward and backward
    assert 5 <= count.all < 20


@pytest.mark.parametrize("preset", ["tiny-64", pytest.param("small-512", marks=pytest.mark.check)])
def test_a_penalised_step_runs_each_convolution_a_few_times_only(preset):
    """A plain step runs each convolution forward and backward, on real pictures and on others. R1 adds the way back to
    the picture and its derivatives: for a dense layer twice more each kind, whatever its channels."""
    count = counted(preset)
    with torch.device("meta"):
        discriminator = Discriminator(PRESETS[preset])
    layers = sum(isinstance(m, Conv) for m in discriminator.modules()) + 2 * len(discriminator.blocks)  # and the FIRs
    assert count[PLAIN].convolutions == 4 * layers
    assert count[OURS].convolutions <= 8 * layers
    assert count[OURS].all <= 2 * count[PLAIN].all
    assert count[PYTORCH].convolutions > count[OURS].convolutions
