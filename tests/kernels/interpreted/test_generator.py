"""The generator on kernels, run by the interpreter, against the reference: pictures and gradients."""

import copy

import pytest
import torch

from cmgan import kernels
from cmgan.config import preset
from cmgan.kernels.launch import launches
from cmgan.kernels.table import KernelTable
from cmgan.kernels.tolerances import GENERATOR, relative_error
from cmgan.kernels.winners import EPILOGUE, FOLD, REFERENCE, Tile, Way
from cmgan.model.initialise import seeded_generator

FUSED = Way("fused", Tile(256, 32, 32, 4, 2))


@pytest.fixture(scope="module")
def generator():
    return seeded_generator(preset("tiny-64"))


def inputs(batch):
    torch.manual_seed(1)
    return torch.rand(batch, 3, 64, 64) * 2 - 1, (torch.rand(batch, 1, 64, 64) > 0.5).float(), torch.randn(batch, 64)


@torch.no_grad()
def test_one_sample_with_folded_weights(generator):
    expected = kernels.use(generator, "reference")(*inputs(1))
    kernels.use(generator, "triton")
    launches.clear()
    assert relative_error(generator(*inputs(1)), expected) <= GENERATOR
    # Up to the finest scale, GB and SB have two layers; there GB has one. to-RGB is a library convolution when folded.
    assert launches == {"fold_weights": 1, "epilogue": 14, "spatial_epilogue": 5}
    generator.cascades[0].global_block.first.weight[:2].mul_(3)  # the packed copy must notice
    generator.cascades[1].rgb.affine.bias.add_(0.5)
    changed = generator(*inputs(1))
    assert relative_error(changed, kernels.use(generator, "reference")(*inputs(1))) <= GENERATOR
    assert relative_error(changed, expected) > GENERATOR


def trained_once(generator, *given):
    """The picture and the gradient of every parameter."""
    generator.zero_grad()
    picture = generator(*given)
    picture.square().sum().backward()
    return {"picture": picture.detach()} | {name: p.grad.clone() for name, p in generator.named_parameters()}


def test_a_batch_and_its_gradients(generator):
    """No worse than twice the reference's own error; some gradients are sums in which almost everything cancels."""
    reference = kernels.use(generator, "reference")
    eager = trained_once(reference, *inputs(2))
    exact = trained_once(copy.deepcopy(reference).double(), *(x.double() for x in inputs(2)))
    launches.clear()
    found = trained_once(kernels.use(generator, "triton"), *inputs(2))
    assert launches == {"scaling_epilogue": 4, "epilogue": 10, "spatial_epilogue": 5, "modconv2d": 5}
    assert relative_error(found["picture"], eager["picture"]) <= GENERATOR
    for name in exact:
        if name.endswith("attention.key.bias"):
            continue  # softmax ignores a shift of all logits: this gradient is zero but for rounding
        error, eager_error = ((x[name] - exact[name]).abs().max().item() for x in (found, eager))
        assert error <= 2 * eager_error + GENERATOR * exact[name].abs().max().item(), name


MIXES = {
    "convolutions fused": {"same": FUSED, "up": EPILOGUE, "spatial": FUSED, "rgb": FUSED},
    "spatial on the reference": {"same": EPILOGUE, "up": EPILOGUE, "spatial": REFERENCE, "rgb": REFERENCE},
    "upsampling on the reference": {"same": FOLD, "up": REFERENCE, "spatial": EPILOGUE, "rgb": FOLD},
}


@torch.no_grad()
@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
def test_any_mixture_of_ways_paints_the_same_picture(generator, mix, monkeypatch):
    expected = kernels.use(generator, "reference")(*inputs(1))
    table = KernelTable(generator, {})
    monkeypatch.setattr(table, "way", lambda like, kind, channels, side: mix[kind] if side <= 16 else REFERENCE)
    generator.ops = table.ops()
    launches.clear()
    assert relative_error(generator(*inputs(1)), expected) <= GENERATOR
    assert launches.total() > 0
