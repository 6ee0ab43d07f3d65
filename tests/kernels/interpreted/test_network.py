"""The network on kernels, run by the interpreter, against the generator."""

from dataclasses import replace

import pytest
import torch

from cmgan import kernels
from cmgan.config import GeneratorConfig
from cmgan.kernels.launch import launches
from cmgan.kernels.network import layer
from cmgan.kernels.network.network import KernelNetwork
from cmgan.kernels.tolerances import GENERATOR, relative_error
from cmgan.model.initialise import seeded_generator
from tests.kernels.interpreter import tensor_core_dots

CONFIG = GeneratorConfig("small", 16, 256, 24, 20, 12, 2, 8, "pyramid")  # three scales, attention at two, odd widths
PAPER = replace(CONFIG, fill="none")


@pytest.fixture(scope="module")
def generator():
    return seeded_generator(CONFIG).requires_grad_(False)


def inputs(batch):
    torch.manual_seed(1)
    mask = (torch.rand(batch, 1, 16, 16) > 0.5).float()
    mask[0] = 1  # nothing is known
    return torch.rand(batch, 3, 16, 16) * 2 - 1, mask, torch.randn(batch, CONFIG.z_dim)


@pytest.mark.parametrize("batch", [1, 3])
def test_it_paints_the_generators_picture(generator, batch):
    network = kernels.use(generator, "triton")
    assert isinstance(network, KernelNetwork)
    launches.clear()
    assert relative_error(network(*inputs(batch)), generator(*inputs(batch))) <= GENERATOR
    of_batch = {"fold": 2, "epilogue": 16} if batch == 1 else {"scaling_epilogue": 2, "epilogue": 14}
    assert launches.items() >= of_batch.items(), launches
    assert launches["stem"] == 1 and launches["to_rgb"] == launches["spatial_epilogue"] == 3


def test_without_the_known_pyramid():
    paper = seeded_generator(PAPER).requires_grad_(False)
    assert relative_error(kernels.use(paper, "triton")(*inputs(2)), paper(*inputs(2))) <= GENERATOR


@pytest.mark.parametrize("batch", [1, 3])
def test_fused_convolutions_paint_it_too(generator, batch, monkeypatch):
    for module in (layer, "cmgan.kernels.network.decoder"):
        target = module if isinstance(module, str) else module.__name__
        monkeypatch.setattr(f"{target}.way_of", lambda x, weight: "fused")
    launches.clear()
    found = kernels.use(generator, "triton")(*inputs(batch))
    assert relative_error(found, generator(*inputs(batch))) <= GENERATOR
    assert launches["modconv2d"] >= 5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_nearer_than_the_generators_own(generator, dtype):
    """Codes and biases are float32 here."""
    given, exact = inputs(2), generator(*inputs(2))
    half = seeded_generator(CONFIG).requires_grad_(False).to(dtype)
    eager = half(*(x.to(dtype) for x in given)).float()
    with tensor_core_dots():
        found = kernels.use(generator, "triton", dtype)(*given)
    assert relative_error(found, exact) <= 2 * relative_error(eager, exact)


def test_later_changes_of_the_generator_do_not_reach_it(generator):
    twin = seeded_generator(CONFIG).requires_grad_(False)
    network = kernels.use(twin, "triton")
    twin.style.weight.zero_()
    assert relative_error(network(*inputs(1)), generator(*inputs(1))) <= GENERATOR
