"""The fused epilogues against their composites in float64, and against PyTorch in the same dtype."""

import pytest
import torch

from cmgan.kernels.epilogue import composite, epilogue, scaling_composite, scaling_epilogue
from cmgan.kernels.launch import launches
from cmgan.kernels.tolerances import three_way
from tests.kernels.cases import DTYPES, SHAPES, double, epilogue_arguments, positive, randn


def judged(kernel, eager, exact, name):
    comparison = three_way(kernel, eager, exact, name)
    assert comparison.passed, comparison


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_all_terms_and_both_outputs(shape, name, up):
    arguments = epilogue_arguments(shape, DTYPES[name], up=up, last=True)
    style = randn(*shape[:2], dtype=DTYPES[name])
    before = launches["scaling_epilogue"]
    out, scaled = scaling_epilogue(*arguments, style=style, up=up)
    assert launches["scaling_epilogue"] == before + 1
    eager = scaling_composite(*arguments, style, up)
    exact = scaling_composite(*double(arguments), style.double(), up)
    judged(out, eager[0], exact[0], name)
    judged(scaled, eager[1], exact[1], name)
    assert out.is_contiguous(memory_format=torch.channels_last) and out.dtype == scaled.dtype == DTYPES[name]


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("terms", ["", "demod", "bias", "residual", "noise"])
def test_each_term_alone_in_contiguous_memory(terms, up):
    names = ["y", "demod", "bias", "residual", "noise"]
    given = epilogue_arguments((2, 16, 9, 7), torch.float32, up=up, last=False)
    arguments = [x if name in ("y", terms) else None for name, x in zip(names, given, strict=True)]
    out = epilogue(*arguments, up=up)
    judged(out, composite(*arguments, up), composite(*double(arguments), up), "float32")
    assert out.is_contiguous()


def test_a_noise_map_for_each_sample():
    arguments = epilogue_arguments((2, 16, 9, 7), torch.float32, up=False, last=True)[:4]
    noise = randn(2, 1, 9, 7, dtype=torch.float32)
    exact = composite(*double([*arguments, noise]), False)
    judged(epilogue(*arguments, noise), composite(*arguments, noise, False), exact, "float32")


def test_tensors_in_other_layouts_and_dtypes_than_the_first():
    y = randn(2, 16, 9, 7, dtype=torch.float16).contiguous(memory_format=torch.channels_last)
    residual = randn(9, 7, 16, 2, dtype=torch.float32).permute(3, 2, 0, 1)
    demod = positive(16, 2, dtype=torch.float32).t()
    exact = composite(y.double(), demod.double(), None, residual.double(), None, False)
    judged(epilogue(y, demod, None, residual), composite(y, demod, None, residual, None, False), exact, "float16")


def test_near_the_limit_of_half_precision_the_clamp_holds():
    arguments = epilogue_arguments((1, 16, 9, 7), torch.float16, up=False, last=True)
    arguments[0] = arguments[0] * 2e4
    out = epilogue(*arguments)
    assert out.isfinite().all() and out.abs().max() > 300
    judged(out, composite(*arguments, False), composite(*double(arguments), False), "float16")


def test_a_nan_comes_out_as_a_nan():
    arguments = epilogue_arguments((1, 16, 9, 7), torch.float32, up=False, last=True)
    arguments[0][0, 3, 4, 5] = float("nan")
    out = epilogue(*arguments)
    assert out.isnan().sum() == 1 and out[0, 3, 4, 5].isnan()
