"""Equalised learning rate, the mapping, the Fourier convolution: against what they are defined as."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cmgan.model.encoder import FFCBlock
from cmgan.model.functional import ACTIVATION_SPACE
from cmgan.model.layers import Conv, FullyConnected, Mapping, normalise_second_moment
from tests.tolerances import tolerance

CLOSE = tolerance("float64")


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def close(a, b):
    assert a.shape == b.shape and a.numel()
    torch.testing.assert_close(a, b, rtol=0, atol=CLOSE)


def test_equalised_layers_scale_by_fan_in():
    layer, conv = FullyConnected(6, 4, bias_init=1.0, lr_multiplier=0.01).double(), Conv(3, 2, 3).double()
    x, picture = randn(2, 6), randn(2, 3, 5, 5)
    close(layer(x), x @ (layer.weight * 0.01 / math.sqrt(6)).T + 1)
    close(conv(picture, padding=1), F.conv2d(picture, conv.weight / math.sqrt(27), padding=1))


def test_second_moment():
    x = normalise_second_moment(randn(3, 8) * 100)
    close(x.square().mean(1), torch.ones(3, dtype=torch.float64))


def test_mapping_ignores_the_length_of_z():
    mapping, z = Mapping(8, 6, 4).double(), randn(2, 8)
    w = normalise_second_moment(z)
    for layer in mapping.layers:
        w = F.leaky_relu(layer(w), 0.2) * math.sqrt(2)
    close(mapping(z), w)
    assert len(mapping.layers) == 4 and w.shape == (2, 6)
    torch.testing.assert_close(mapping(5 * z), w, rtol=0, atol=tolerance("mapping_epsilon"))


@pytest.mark.parametrize("halve", [False, True])
def test_fourier_convolution(halve):
    """Local and global halves, four branches; the spectral one through numpy."""
    block, x = FFCBlock(6, 8, halve=halve).double(), randn(2, 6, 8, 8)
    for parameter in block.parameters():
        parameter.data = torch.randn_like(parameter)  # biases too
    near, far = x[:, :3], x[:, 3:]
    spectral = block.global_to_global
    t = spectral.enter(far.unflatten(2, (4, 2)).unflatten(4, (4, 2)).mean((3, 5)) if halve else far)
    f = np.fft.rfft2(t.detach().numpy(), norm="ortho")
    f = F.relu(spectral.spectrum(torch.from_numpy(np.concatenate([f.real, f.imag], 1)))).detach().numpy()
    f = np.fft.irfft2(f[:, :2] + 1j * f[:, 2:], s=t.shape[2:], norm="ortho")
    from_spectrum = spectral.leave((t + torch.from_numpy(f)) * math.sqrt(0.5))

    def branch(conv, part):
        if not halve:
            return conv(part, padding=1)
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8
        blurred = F.conv2d(part, torch.outer(taps, taps).expand(3, 1, 4, 4), padding=2, groups=3)
        return conv(blurred, stride=2)

    local = branch(block.local_to_local, near) + branch(block.global_to_local, far)
    wide = branch(block.local_to_global, near) + from_spectrum
    expected = F.leaky_relu(torch.cat([local, wide], 1) * math.sqrt(0.5), 0.2) * math.sqrt(2)
    close(block(x, ACTIVATION_SPACE), expected)


def test_fourier_convolution_sees_the_whole_picture():
    block = FFCBlock(4, 4, halve=False)
    x = torch.randn(1, 4, 32, 32)
    moved = x.clone()
    moved[:, 2:, 0, 0] += 1  # one position of the global half
    changed = (block(moved, ACTIVATION_SPACE) - block(x, ACTIVATION_SPACE)).abs()
    assert changed[0, 2:].amax(0).gt(0).all() and not changed[0, :2, 2:, 2:].any()
