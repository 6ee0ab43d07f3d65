"""The lowered network against the reference, in float64 and piece by piece."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from cmgan.config import FILLS, PRESETS
from cmgan.export.network.decoder import LOWERED, lower_cascade
from cmgan.export.network.encoder import FEATURE_GAIN, LoweredBlock
from cmgan.export.network.fourier import SPECTRAL
from cmgan.export.network.lowered import Lowered
from cmgan.model.functional import ACTIVATION_SPACE, CLAMP, GAIN
from cmgan.model.initialise import seeded_generator
from cmgan.model.layers import fold_gains
from tests.tolerances import tolerance


@pytest.fixture(scope="module")
def generator():
    return seeded_generator(PRESETS["tiny-64"]).double().requires_grad_(False)


@pytest.fixture(scope="module")
def folded(generator):
    """Without equalised gains, as the lowered modules expect it."""
    twin = copy.deepcopy(generator)
    fold_gains(twin)
    return twin


def _normal(*shape):
    return torch.randn(shape, dtype=torch.float64)


def _close(got, wanted, name="float64"):
    assert got.shape == wanted.shape
    assert (got - wanted).abs().max().item() <= tolerance(name)


@pytest.mark.parametrize("fft", SPECTRAL)
@pytest.mark.parametrize(("side", "width"), [(4, 1), (8, 3), (64, 2)])
def test_the_spectral_part_is_numpys(fft, side, width):
    spectrum = nn.Conv2d(2 * width, 2 * width, 1, dtype=torch.float64).requires_grad_(False)
    x = _normal(2, width, side, side)
    f = np.fft.rfft2(x.numpy(), norm="ortho")
    parts = np.concatenate([f.real, f.imag], 1)  # (N, 2w, H, H / 2 + 1)
    mixed = (
        np.einsum("oi,nihw->nohw", spectrum.weight.numpy()[:, :, 0, 0], parts) + spectrum.bias.numpy()[:, None, None]
    )
    real, imaginary = np.split(np.maximum(mixed, 0), 2, 1)
    wanted = np.fft.irfft2(real + 1j * imaginary, s=(side, side), norm="ortho")
    _close(SPECTRAL[fft](spectrum, side)(x.flatten(2)), torch.from_numpy(wanted).flatten(2))


@pytest.mark.parametrize("index", [0, 1], ids=["same size", "halving"])
def test_a_merged_fourier_block_is_the_block(folded, index):
    block = folded.encoder.blocks[index]
    side = 32
    x = _normal(2, block.local_in * 2, side, side)
    lowered = LoweredBlock(block, side >> index, "matmul")
    _close(lowered(x * FEATURE_GAIN), block(x, ACTIVATION_SPACE) * FEATURE_GAIN)


@pytest.mark.parametrize("forms", LOWERED)
@pytest.mark.parametrize("index", [0, 1, -1], ids=["first", "upsampling", "last"])
def test_lowered_layers_of_the_decoder_are_the_layers(folded, index, forms):
    side = PRESETS["tiny-64"].scales[index]
    cascade = folded.cascades[index]
    low = side // (2 if cascade.global_block.up else 1)
    f_g, f_s = (_normal(2, cascade.global_block.first.weight.shape[1], low, low) for _ in range(2))
    f_e = _normal(2, cascade.global_block.first.weight.shape[0], side, side)
    g, mask = _normal(2, 2 * PRESETS["tiny-64"].w_dim), torch.zeros(2, 1, 64, 64, dtype=torch.float64)
    lowered = copy.deepcopy(cascade)
    lower_cascade(lowered, forms)
    results = []
    for module, feature, ops in ((cascade, f_e, ACTIVATION_SPACE), (lowered, f_e * FEATURE_GAIN, LOWERED[forms])):
        given = {layer: layer(g) for layer in module.modulated}
        outputs = module(f_g, f_s, feature, g, given, mask, ops, False)
        results.append((*outputs, module.paint(None, outputs[1], given, ops)))
    for got, wanted in zip(*results[::-1], strict=True):
        _close(got, wanted)


@pytest.mark.parametrize("side", [1, 2, 9])
def test_lowered_resampling_is_the_resampling(side):
    x = _normal(2, 3, side, side)
    for ops in LOWERED.values():
        _close(ops.upsample(x), ACTIVATION_SPACE.upsample(x))
        _close(ops.enlarge(x), ACTIVATION_SPACE.enlarge(x))


def test_the_clamp_is_where_it_was(folded):
    """Features far beyond the limit come out at the reference's limit, not at its multiple."""
    block = folded.encoder.blocks[0]
    x = 1e4 * _normal(1, block.local_in * 2, 8, 8)
    wanted = block(x, ACTIVATION_SPACE)
    assert abs(wanted.max().item() - CLAMP) <= tolerance("float64")
    _close(LoweredBlock(block, 8, "matmul")(x * GAIN) / GAIN, wanted, "float64_network")


@pytest.mark.parametrize(("fft", "forms"), [*((fft, "products") for fft in SPECTRAL), ("matmul", "convolutions")])
@pytest.mark.parametrize("fill", FILLS)
def test_the_lowered_network_is_the_network(fft, forms, fill):
    config = dataclasses.replace(PRESETS["tiny-64"], fill=fill)
    generator = seeded_generator(config).double().requires_grad_(False)
    image, mask = torch.rand(2, 3, 64, 64).double() * 2 - 1, (torch.rand(2, 1, 64, 64) < 0.4).double()
    z = _normal(2, 64)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    _close(Lowered(generator, "core", fft, forms)(image, mask, z)[0], generator(image, mask, z), "float64_network")
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
