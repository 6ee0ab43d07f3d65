"""The registered ops on CPU tensors, where their composites run: schemas, tracing, first and second derivatives."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton has no package for this platform")

from cmgan.errors import MissingError, UsageError
from cmgan.kernels.epilogue import composite as epilogue_composite
from cmgan.kernels.epilogue import scaling_composite
from cmgan.kernels.fold import composite as fold_composite
from cmgan.kernels.fold import row_table
from cmgan.kernels.launch import LARGEST_SAMPLE, check_operands, launches, require_kernels
from cmgan.kernels.modconv2d import composite as modconv2d_composite
from cmgan.kernels.modconv2d import modconv2d
from cmgan.kernels.spatial import composite as spatial_composite
from cmgan.kernels.tolerances import COMPOSITE_FLOAT64, relative_error, three_way
from cmgan.kernels.winners import RGB_TILE
from cmgan.model.functional import demodulation, demodulation_of_energy, modulated_layer, spatial_layer, to_rgb
from tests.kernels.cases import convolution_arguments, double, epilogue_arguments, positive, randn, spatial_arguments

F32, F64 = torch.float32, torch.float64
SHAPE = (2, 2, 3, 2)
TILE = [16, 16, 16, 4, 2]
FOLD_SHAPES = [3, 2, 3, 1, 3, 2, 1, 0]


def _cases():
    def style():
        return randn(2, 2, dtype=F32)

    plain, doubled = (epilogue_arguments(SHAPE, F32, up=up, last=True) for up in (False, True))
    convolution = convolution_arguments(SHAPE, 3, 3, F32)
    return {
        "epilogue": (epilogue_composite, [*plain, False]),
        "epilogue, terms missing": (epilogue_composite, [plain[0], None, plain[2], None, None, False]),
        "epilogue, upsampling": (epilogue_composite, [*doubled, True]),
        "scaling_epilogue": (scaling_composite, [*plain, style(), False]),
        "scaling_epilogue, upsampling": (scaling_composite, [*doubled, style(), True]),
        "spatial_epilogue": (spatial_composite, [*spatial_arguments(SHAPE, F32, up=False, last=True), False]),
        "spatial_epilogue, upsampling": (spatial_composite, [*spatial_arguments(SHAPE, F32, up=True, last=True), True]),
        "modconv2d": (modconv2d_composite, [*convolution, True, TILE, False]),
        "modconv2d, to-RGB": (
            modconv2d_composite,
            [*convolution[:3], None, convolution[4], None, None, False, TILE, False],
        ),
        "fold_weights": (
            fold_composite,
            [randn(3 * 2 * 9 + 6, dtype=F32), row_table(FOLD_SHAPES), positive(4, dtype=F32), FOLD_SHAPES],
        ),
    }


@pytest.fixture(params=list(_cases()))
def case(request):
    """An op with its composite and float64 arguments that want gradients."""
    composite, arguments = _cases()[request.param]
    arguments = double(arguments)
    for x in arguments:
        if isinstance(x, torch.Tensor) and x.is_floating_point():
            x.requires_grad_()
    return getattr(torch.ops.cmgan, request.param.split(",")[0]), composite, arguments


@pytest.mark.check
def test_opcheck(case):
    op, _, arguments = case
    torch.library.opcheck(op.default, tuple(arguments))


@pytest.mark.check
def test_gradcheck(case):
    op, _, arguments = case
    assert torch.autograd.gradcheck(op, arguments)
    assert torch.autograd.gradgradcheck(op, arguments, fast_mode=True)


def test_first_and_second_order_gradients_are_the_composites(case):
    op, composite, arguments = case
    wanted = [x for x in arguments if isinstance(x, torch.Tensor) and x.requires_grad]

    def derivatives(function):
        outputs = function(*arguments)
        outputs = [outputs] if isinstance(outputs, torch.Tensor) else outputs
        first = torch.autograd.grad(sum(y.sin().sum() for y in outputs), wanted, create_graph=True)
        penalty = sum(g.square().sum() for g in first)
        return [*outputs, *first, *torch.autograd.grad(penalty, wanted)]

    for found, expected in zip(derivatives(op), derivatives(composite), strict=True):
        assert expected.abs().max() > 0
        assert relative_error(found, expected) <= COMPOSITE_FLOAT64


def test_composites_are_the_reference():
    """Put together as the table does, they give the functions of `cmgan.model.functional`."""
    x, weight, style, _, bias, residual, noise = double(convolution_arguments(SHAPE, 3, 3, F32))
    demod = demodulation(weight, style)
    expected = modulated_layer(x, weight, style, bias, residual=residual, noise=noise)
    found = modconv2d_composite(x, weight, style, demod, bias, residual, noise, True, TILE, False)
    assert relative_error(found, expected) <= COMPOSITE_FLOAT64
    y = torch.nn.functional.conv2d(x * style[:, :, None, None], weight, padding=1)
    assert relative_error(epilogue_composite(y, demod, bias, residual, noise, False), expected) <= COMPOSITE_FLOAT64
    rgb = double([randn(3, 2, 1, 1, dtype=F32)])[0]
    found = modconv2d_composite(x, rgb, style, None, bias, None, None, False, TILE, False)
    assert relative_error(found, to_rgb(x, rgb, style, bias)) <= COMPOSITE_FLOAT64


def test_spatial_composites_are_the_reference():
    y, demod, bias, noise, scale_map, alpha = double(spatial_arguments(SHAPE, F32, up=False, last=True))
    kernel, shift_map = double([randn(2, 2, 3, 3, dtype=F32), randn(*SHAPE, dtype=F32)])
    scaled, energy = spatial_composite(y, demod, bias, noise, scale_map, alpha, False)
    z = torch.nn.functional.conv2d(scaled, kernel, padding=1)
    found = epilogue_composite(z, demodulation_of_energy(kernel, energy), None, shift_map, noise, False)
    before = epilogue_composite(y, demod, bias, None, noise, False)
    expected = spatial_layer(before, kernel, scale_map, alpha, shift_map, noise)
    assert relative_error(found, expected) <= COMPOSITE_FLOAT64


def test_what_kernels_cannot_take_is_refused():
    with pytest.raises(UsageError, match="float64"):
        check_operands(torch.zeros(1, dtype=F64))
    check_operands(None, torch.zeros(1), torch.empty(2, 2**10, 2**10, 2**10, device="meta"))
    with pytest.raises(UsageError, match=str(LARGEST_SAMPLE)):
        check_operands(torch.empty(1, 2**11, 2**10, 2**10, device="meta"))
    with pytest.raises(MissingError, match="TRITON_INTERPRET"):
        require_kernels(torch.zeros(1))
    with pytest.raises(UsageError, match="a kernel of 5"):
        modconv2d(torch.zeros(1, 1, 5, 5), torch.zeros(1, 1, 5, 5), None, None, None, tile=RGB_TILE)


def test_on_a_cpu_nothing_is_launched():
    launches.clear()
    torch.ops.cmgan.epilogue(*epilogue_arguments(SHAPE, F32, up=False, last=True), False)
    assert not launches


def test_the_judge_passes_no_nan_and_compares_something():
    one = torch.ones(3, dtype=F64)
    assert three_way(one, one, one, "float32").passed
    assert not three_way(one * 1.01, one, one, "float32").passed
    assert not three_way(one * torch.nan, one, one, "float32").passed
    assert not three_way(one, one * torch.nan, one, "float32").passed
    for wrong in (one[:0], one[:2], one.float()):
        with pytest.raises(ValueError, match="cannot compare"):
            three_way(wrong, wrong, wrong if wrong.dtype == F32 or not len(wrong) else one, "float32")
