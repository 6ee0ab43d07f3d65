"""Convolutions that are differentiated twice: against finite differences, and against PyTorch's own derivatives."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from cmgan.config import PRESETS
from cmgan.model.discriminator import Discriminator
from cmgan.model.functional import filter_before_halving, upsample
from cmgan.model.generator import Generator
from cmgan.train import losses
from cmgan.train.double_backward import TwiceDifferentiable, conv2d, conv_transpose2d
from tests.tolerances import tolerance

EXACT = {"rtol": 0, "atol": tolerance("float64")}
# input, weight, options: what the networks use, and an odd case of each
CONVOLUTIONS = [
    pytest.param((2, 3, 5, 5), (2, 3, 3, 3), {"padding": 1}, id="3x3"),
    pytest.param((2, 3, 4, 4), (2, 3, 1, 1), {}, id="1x1"),
    pytest.param((2, 3, 7, 7), (2, 3, 3, 3), {"stride": 2}, id="halving"),
    pytest.param((2, 2, 6, 6), (2, 2, 3, 3), {"stride": 2, "padding": 1}, id="a row of the input unused"),
    pytest.param((2, 3, 4, 4), (3, 1, 4, 4), {"padding": 2, "groups": 3}, id="depthwise"),
    pytest.param((1, 4, 5, 4), (6, 2, 3, 2), {"stride": (1, 2), "padding": (0, 1), "groups": 2}, id="grouped, oblong"),
]
TRANSPOSED = [
    pytest.param((2, 3, 4, 4), (3, 2, 3, 3), {"stride": 2}, id="doubling"),
    pytest.param((2, 3, 3, 3), (3, 1, 4, 4), {"stride": 2, "padding": 1, "groups": 3}, id="depthwise"),
]
CASES = [pytest.param(conv2d, torch.conv2d, *case.values, id=case.id) for case in CONVOLUTIONS]
CASES += [
    pytest.param(conv_transpose2d, torch.conv_transpose2d, *case.values, id=f"transposed, {case.id}")
    for case in TRANSPOSED
]
OUTPUT_PADDING = pytest.param(
    *(conv_transpose2d, torch.conv_transpose2d),
    *((1, 2, 3, 4), (2, 3, 3, 3), {"stride": 2, "output_padding": (1, 0)}),  # which PyTorch cannot differentiate twice
    id="transposed, output padding",
)


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize(("ours", "theirs", "shape", "weight", "options"), [*CASES, OUTPUT_PADDING])
def test_both_derivatives_are_finite_differences(ours, theirs, shape, weight, options):
    x, w, bias = drawn(*shape), drawn(*weight), drawn(theirs(drawn(*shape), drawn(*weight), **options).shape[1])

    def call(x: Tensor, w: Tensor, bias: Tensor) -> Tensor:
        return ours(x, w, bias, **options)

    assert gradcheck(call, (x, w, bias), fast_mode=True)
    assert gradgradcheck(call, (x, w, bias), fast_mode=True)


@pytest.mark.parametrize(("ours", "theirs", "shape", "weight", "options"), CASES)
def test_values_and_derivatives_up_to_the_third_are_pytorchs(ours, theirs, shape, weight, options):
    x, w = drawn(*shape), drawn(*weight)
    pairs = []
    for function in (ours, theirs):
        torch.manual_seed(1)
        orders = [function(x, w, **options)]
        for _ in range(3):
            value = (orders[-1] * torch.randn_like(orders[-1])).sum().square()
            gradients = torch.autograd.grad(value, (x, w), create_graph=True)
            orders.append(torch.cat([g.flatten() / value.detach().abs().sqrt() for g in gradients]))
        pairs.append(orders)
    for order, (mine, wanted) in enumerate(zip(*pairs, strict=True)):
        scale = wanted.abs().max()
        assert torch.isfinite(scale) and scale > 0
        assert (mine - wanted).abs().max() / scale < tolerance("float64"), f"order {order}"


def test_the_gradient_of_the_fir_is_the_fir_and_that_of_its_gradient_too():
    """The taps are symmetrical, so what comes back is what goes out, but for the padding: <FIR x, y> = <x, FIR' y>."""
    x, y = drawn(2, 3, 6, 6), drawn(2, 3, 7, 7)
    with TwiceDifferentiable():
        out = filter_before_halving(x)
    (back,) = torch.autograd.grad(out, x, y, create_graph=True)
    torch.testing.assert_close(back, filter_before_halving(y)[:, :, 1:-1, 1:-1], **EXACT)
    (again,) = torch.autograd.grad(back, y, x)
    torch.testing.assert_close(again, out, **EXACT)
    with TwiceDifferentiable():
        twice = upsample(x)
    torch.testing.assert_close(twice, upsample(x), **EXACT)


def penalty(network: Discriminator | Generator) -> Tensor:
    """R1 of the discriminator, or the mean square of the generator's path lengths; the same pictures every time."""
    torch.manual_seed(1)
    image, mask = drawn(2, 3, 64, 64), torch.zeros(2, 1, 64, 64, dtype=torch.float64)
    mask[:, :, 10:40, 20:50] = 1
    if isinstance(network, Discriminator):
        return losses.masked_r1(network(image, mask), image, mask)
    z = drawn(2, network.config.z_dim)
    raw = network(image.detach(), mask, z)
    return losses.path_lengths(raw, z, torch.randn_like(raw)).square().mean()


@pytest.mark.parametrize("kind", [Discriminator, pytest.param(Generator, marks=pytest.mark.check)])
def test_penalties_of_the_networks_have_pytorchs_gradients(kind):
    network = kind(PRESETS["tiny-64"]).double()
    theirs = torch.autograd.grad(penalty(network), network.parameters(), materialize_grads=True)
    with TwiceDifferentiable():
        ours = torch.autograd.grad(penalty(network), network.parameters(), materialize_grads=True)
    ours, theirs = (torch.cat([g.flatten() for g in gradients]) for gradients in (ours, theirs))
    assert theirs.norm() > 0
    assert (ours - theirs).norm() / theirs.norm() < tolerance("float64_network")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_autocast_chooses_as_it_does_for_torch(dtype):
    x, w, bias = (drawn(*shape).detach().to(dtype) for shape in [(2, 3, 5, 5), (4, 3, 3, 3), (4,)])
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = conv2d(x, w, None), torch.conv2d(x, w)
        assert torch.equal(ours, theirs) and ours.dtype == theirs.dtype
        assert conv2d(x, w, bias).dtype == torch.conv2d(x, w, bias).dtype
        assert conv_transpose2d(x, w[:3]).dtype == torch.conv_transpose2d(x, w[:3]).dtype


def test_outside_the_context_the_convolution_is_torchs():
    x, w = drawn(1, 2, 4, 4), drawn(2, 2, 3, 3)
    with TwiceDifferentiable():
        assert "_Forward" in type(torch.conv2d(x, w).grad_fn).__name__
        assert "_ToInput" in type(torch.conv_transpose2d(x, w).grad_fn).__name__
    assert "_Forward" not in type(torch.conv2d(x, w).grad_fn).__name__
