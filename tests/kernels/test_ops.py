"""The registered ops on CPU tensors, where their composites run: schemas, tracing, first and second derivatives."""

import pytest

pytest.importorskip("triton", reason="Triton has no package for this platform")

import torch
from torch._library.triton import get_triton_kernels_for_op

from cmgan.errors import MissingError, UsageError
from cmgan.kernels.catalogue import entries, listed, widened
from cmgan.kernels.demodulate import composite as demodulate
from cmgan.kernels.demodulate import squares_of
from cmgan.kernels.epilogue import composite as epilogue
from cmgan.kernels.fold import composite as fold
from cmgan.kernels.fold import pack, unpack
from cmgan.kernels.launch import LARGEST_SAMPLE, check_operands, launches, require_kernels
from cmgan.kernels.modconv2d import composite as modconv2d
from cmgan.kernels.spatial import composite as spatial_epilogue
from cmgan.kernels.to_rgb import composite as to_rgb
from cmgan.kernels.tolerances import COMPOSITE_FLOAT64, relative_error, three_way
from cmgan.model import functional

F64 = torch.float64
SHAPE = (2, 2, 3, 2)


def randn(*size):
    return torch.randn(*size, dtype=F64)


@pytest.fixture(params=entries(), ids=lambda entry: entry.name)
def case(request):
    """An op with its composite and float64 arguments that want gradients."""
    arguments = widened(request.param.arguments(SHAPE, torch.float32))
    for x in arguments:
        if isinstance(x, torch.Tensor) and x.is_floating_point() and x.numel():
            x.requires_grad_()
    return request.param, arguments


@pytest.mark.check
def test_opcheck(case):
    entry, arguments = case
    torch.library.opcheck(entry.op._opoverload, tuple(arguments))


@pytest.mark.check
def test_gradcheck(case):
    entry, arguments = case
    assert torch.autograd.gradcheck(entry.op, arguments)
    assert torch.autograd.gradgradcheck(entry.op, arguments, fast_mode=True)


def test_first_and_second_order_gradients_are_the_composites(case):
    entry, arguments = case
    wanted = [x for x in arguments if isinstance(x, torch.Tensor) and x.requires_grad]

    def derivatives(function):
        outputs = listed(function(*arguments))
        first = torch.autograd.grad(sum(y.sin().sum() for y in outputs), wanted, create_graph=True, allow_unused=True)
        penalty = sum(g.square().sum() for g in first if g is not None)
        second = torch.autograd.grad(penalty, wanted, allow_unused=True)
        return [*outputs, *(g for g in (*first, *second) if g is not None)]

    for found, expected in zip(derivatives(entry.op), derivatives(entry.composite), strict=True):
        assert relative_error(found, expected) <= COMPOSITE_FLOAT64


def test_the_compilers_cache_knows_the_source_of_every_kernel():
    """An edited kernel must not run stale under torch.compile, whose key holds what it finds here."""
    for name in {entry.op._qualname for entry in entries()}:
        assert [kernel.fn.__name__.endswith("_kernel") for kernel in get_triton_kernels_for_op(name)] == [True], name


def test_composites_are_the_reference():
    """Put together as the network does, they give the functions of `cmgan.model.functional`."""
    x, weight, style, bias = randn(2, 3, 5, 5), randn(4, 3, 3, 3), randn(2, 3), randn(4)
    residual, noise, after = randn(2, 4, 5, 5), randn(1, 1, 5, 5), randn(2, 4)
    expected = functional.modulated_layer(x, weight, style, bias, residual=residual, noise=noise)
    squares = weight.square().sum((2, 3))
    found = modconv2d(x, weight, style, squares, None, bias, residual, noise, after, False)
    assert relative_error(found, expected * after[:, :, None, None]) <= COMPOSITE_FLOAT64
    demod = demodulate(style[:, None], squares.flatten(), None, [4, 3, 0], 0.0)
    y = torch.conv2d((x * style[:, :, None, None]).contiguous(), weight, padding=1)
    assert relative_error(epilogue(y, demod, bias, residual, noise, None, False), expected) <= COMPOSITE_FLOAT64


def test_folded_weights_are_the_reference():
    x, weight, style, bias = randn(1, 3, 5, 5), randn(4, 3, 3, 3), randn(3), randn(4)
    residual = randn(1, 4, 10, 10)
    expected = functional.modulated_layer(x, weight, style[None], bias, residual=residual, up=True)
    sizes = [4, 3, 0]
    packed = fold(pack([weight], transposed=True), None, style, sizes, True)
    (folded,) = unpack(packed, sizes, transposed=True)
    y = torch.conv_transpose2d(x, folded, stride=2)
    assert relative_error(epilogue(y, None, bias, residual, None, None, True), expected) <= COMPOSITE_FLOAT64


def test_spatial_composites_are_the_reference():
    y, bias, noise, scale_map, alpha = randn(2, 3, 9, 8), randn(3), randn(2, 1, 9, 8), randn(2, 3, 9, 8), randn(2, 3)
    kernel, shift_map = randn(3, 3, 3, 3), randn(2, 3, 9, 8)
    first = functional.activate(y + bias[:, None, None] + noise)
    expected = functional.spatial_layer(first, kernel, scale_map, alpha, shift_map, noise)
    scaled, sums = spatial_epilogue(y, None, bias, noise, scale_map, alpha, False)
    demod = demodulate(sums, kernel.square().sum((2, 3)).flatten(), None, [3, 3, 0], 1 / 72)
    z = torch.conv2d(scaled, kernel, padding=1)
    assert relative_error(epilogue(z, demod, None, shift_map, noise, None, False), expected) <= COMPOSITE_FLOAT64


def test_the_picture_of_a_scale_is_the_reference():
    x, weight, style, bias, skip = randn(2, 3, 6, 4), randn(3, 3), randn(2, 3), randn(3), randn(2, 3, 3, 2)
    expected = functional.upsample(skip) + functional.to_rgb(x, weight[:, :, None, None], style, bias)
    assert relative_error(to_rgb(x, weight, style, bias, skip, None, None), expected) <= COMPOSITE_FLOAT64


def test_packing_keeps_every_weight():
    weights = [torch.randn(4, 3, 3, 3), torch.randn(2, 5, 3, 3)]
    sizes = [4, 3, 0, 2, 5, 3]
    for transposed in (False, True):
        for layer, weight in zip(unpack(pack(weights, transposed=transposed), sizes, transposed=transposed), weights,
                                 strict=True):  # fmt: skip
            plain = layer.transpose(0, 1).flip(2, 3) if transposed else layer
            assert torch.equal(plain, weight) and layer.is_contiguous(memory_format=torch.channels_last)
    assert squares_of(weights).shape == (4 * 3 + 2 * 5,)


def test_what_kernels_cannot_take_is_refused():
    with pytest.raises(UsageError, match="float64"):
        check_operands(torch.zeros(1, dtype=F64))
    check_operands(None, torch.zeros(1), torch.empty(2, 2**10, 2**10, 2**10, device="meta"))
    with pytest.raises(UsageError, match=str(LARGEST_SAMPLE)):
        check_operands(torch.empty(1, 2**11, 2**10, 2**10, device="meta"))
    with pytest.raises(MissingError, match="TRITON_INTERPRET"):
        require_kernels(torch.zeros(1))


def test_on_a_cpu_nothing_is_launched():
    launches.clear()
    for entry in entries():
        entry.op(*entry.arguments(SHAPE, torch.float32))
    assert not launches


def test_the_judge_passes_no_nan_and_compares_something():
    one = torch.ones(3, dtype=F64)
    assert three_way(one, one, one, "float32").passed
    assert not three_way(one * 1.01, one, one, "float32").passed
    assert not three_way(one * torch.nan, one, one, "float32").passed
    assert not three_way(one, one * torch.nan, one, "float32").passed
    for wrong in (one[:0], one[:2], one.float()):
        with pytest.raises(ValueError, match="cannot compare"):
            three_way(wrong, wrong, wrong if wrong.dtype == torch.float32 or not len(wrong) else one, "float32")
