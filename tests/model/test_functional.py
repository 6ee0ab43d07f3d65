"""The operations against their definitions, written as plainly as possible, in float64."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cmgan.model import functional as ops
from tests.model.push_pull import push_pull
from tests.tolerances import tolerance

CLOSE = tolerance("float64")


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def close(a, b):
    assert a.shape == b.shape and a.numel() and a.dtype == b.dtype == torch.float64
    torch.testing.assert_close(a, b, rtol=0, atol=CLOSE)


def activated(value):
    """Leaky ReLU 0.2 times sqrt 2, of a small float."""
    return (value if value > 0 else 0.2 * value) * math.sqrt(2)


def literal_conv(x, w):
    """3x3 or 1x1 convolution with zero padding, position by position: (C, H, W), (O, C, k, k) -> (O, H, W)."""
    k = w.shape[-1]
    padded = F.pad(x, [k // 2] * 4)
    y = torch.zeros(w.shape[0], *x.shape[1:], dtype=x.dtype)
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            y[:, i, j] = (w * padded[:, i : i + k, j : j + k]).sum((1, 2, 3))
    return y


def literal_fir(x, gain, before, after):
    """FIR [1, 3, 3, 1] x [1, 3, 3, 1] / 64 of (C, H, W), zero-padded by `before` and `after` on both axes."""
    padded = F.pad(x, [before, after, before, after])
    y = torch.zeros(x.shape[0], padded.shape[1] - 3, padded.shape[2] - 3, dtype=x.dtype)
    for a, row in enumerate([1, 3, 3, 1]):
        for b, column in enumerate([1, 3, 3, 1]):
            y += padded[:, a : a + y.shape[1], b : b + y.shape[2]] * (row * column / 64 * gain)
    return y


def zero_inserted(x):
    """(C, H, W) -> (C, 2H - 1, 2W - 1): a zero between every two neighbours."""
    y = torch.zeros(x.shape[0], 2 * x.shape[1] - 1, 2 * x.shape[2] - 1, dtype=x.dtype)
    y[:, ::2, ::2] = x
    return y


def literal_upsampling_conv(x, w):
    wide = F.pad(zero_inserted(x), [1, 1, 1, 1])  # every output that a 3x3 window reaches: 2H + 1
    return literal_fir(literal_conv(wide, w), 4, 1, 1)


def literal_demodulation(w, style):
    d = torch.zeros(style.shape[0], w.shape[0], dtype=w.dtype)
    for n in range(style.shape[0]):
        for o in range(w.shape[0]):
            total = sum((style[n, i] * w[o, i]).square().sum() for i in range(w.shape[1]))
            d[n, o] = 1 / math.sqrt(total + 1e-8)
    return d


def test_activation():
    values = [-1e6, -300.0, -1.0, 0.0, 0.5, 100.0, 300.0]
    limit = 256 * math.sqrt(2)
    expected = [min(max(activated(v), -limit), limit) for v in values]
    close(ops.activate(torch.tensor(values, dtype=torch.float64)), torch.tensor(expected, dtype=torch.float64))


def test_upsampling_and_the_filter_before_halving():
    x = randn(2, 3, 5, 4)
    literal = [literal_fir(F.pad(zero_inserted(picture), [0, 1, 0, 1]), 4, 2, 1) for picture in x]
    close(ops.upsample(x), torch.stack(literal))
    close(ops.filter_before_halving(x), torch.stack([literal_fir(picture, 1, 2, 2) for picture in x]))


def test_upsampling_keeps_a_constant_picture_and_its_position():
    flat = ops.upsample(torch.ones(1, 1, 6, 6, dtype=torch.float64))
    close(flat[:, :, 2:-2, 2:-2], torch.ones(1, 1, 8, 8, dtype=torch.float64))
    # The middle of a blurred dot at (2, 3) lies at the middle of the four fine pixels that stand for it.
    dot = torch.zeros(1, 1, 6, 6, dtype=torch.float64)
    dot[0, 0, 2, 3] = 1
    wide = ops.upsample(dot)[0, 0]
    where = torch.arange(12, dtype=torch.float64)
    centre = torch.stack([(wide.sum(1) * where).sum(), (wide.sum(0) * where).sum()]) / wide.sum()
    close(centre, torch.tensor([4.5, 6.5], dtype=torch.float64))
    assert ops.upsampling_conv2d(dot, F.pad(torch.ones(1, 1, 1, 1, dtype=torch.float64), [1] * 4)).equal(
        wide[None, None]
    )


def test_upsampling_convolution():
    x, w = randn(2, 3, 4, 5), randn(2, 3, 3, 3)
    close(ops.upsampling_conv2d(x, w), torch.stack([literal_upsampling_conv(picture, w) for picture in x]))


def test_demodulation_in_float64_and_in_half_precision():
    w, style = randn(4, 3, 3, 3), randn(2, 3)
    close(ops.demodulation(w, style), literal_demodulation(w, style))
    # 512 channels of 3x3 at a style of 8: the sum, near 300,000, is beyond float16; the result is not.
    loud = ops.demodulation(torch.ones(1, 512, 3, 3, dtype=torch.float16), torch.full((1, 512), 8.0).half())
    assert loud.dtype == torch.float16 and loud.item() == torch.tensor(1 / math.sqrt(512 * 9 * 64)).half().item()


@pytest.mark.parametrize("form", ["activation", "weight"])
@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize(("up", "size"), [(False, 3), (False, 1), (True, 3)])
def test_modulated_convolution(form, demodulate, up, size):
    x, w, style = randn(3, 3, 5, 4), randn(2, 3, size, size), randn(3, 3)
    literal = []
    for picture, s in zip(x, style, strict=True):
        scaled = w * s[None, :, None, None]
        if demodulate:
            scaled = scaled * literal_demodulation(w, s[None])[0][:, None, None, None]
        literal.append(literal_upsampling_conv(picture, scaled) if up else literal_conv(picture, scaled))
    close(ops.modulated_conv2d(x, w, style, demodulate=demodulate, up=up, form=form), torch.stack(literal))


def test_modulated_convolution_refuses_an_unknown_form():
    with pytest.raises(ValueError, match="'activation' or 'weight'"):
        ops.modulated_conv2d(randn(1, 1, 2, 2), randn(1, 1, 1, 1), randn(1, 1), form="fast")


@pytest.mark.parametrize("form", ["activation", "weight"])
def test_global_layers_are_two_modulated_convolutions_with_the_feature_in_the_first(form):
    f_g, f_e = randn(2, 3, 4, 4), randn(2, 2, 8, 8)
    first, second = (randn(2, 3, 3, 3), randn(2, 3), randn(2)), (randn(2, 2, 3, 3), randn(2, 2), randn(2))
    x, f_next = ops.global_layers(f_g, first, second, f_e, up=True, form=form)
    expected = ops.modulated_conv2d(f_g, first[0], first[1], up=True) + f_e + first[2].reshape(1, 2, 1, 1)
    close(x, F.leaky_relu(expected, 0.2) * math.sqrt(2))
    expected = ops.modulated_conv2d(x, second[0], second[1]) + second[2].reshape(1, 2, 1, 1)
    close(f_next, F.leaky_relu(expected, 0.2) * math.sqrt(2))
    assert ops.global_layers(f_g, first, None, f_e, up=True, form=form)[1].equal(x)


def test_spatial_demodulation():
    w, scale = randn(4, 3, 3, 3), randn(2, 3, 5, 4)
    d = torch.zeros(2, 4, dtype=torch.float64)
    for n in range(2):
        for o in range(4):
            total = sum(w[o, i].square().sum() * scale[n, i].square().mean() for i in range(3))
            d[n, o] = 1 / math.sqrt(total + 1e-8)
    close(ops.spatial_demodulation(w, scale), d)


def test_spatial_demodulation_keeps_unit_variance():
    """What it is for: inputs of unit variance come out with unit variance, however loud the scale map is."""
    y, w = randn(1, 16, 64, 64), randn(8, 16, 3, 3)
    scale = 30 * (1 + randn(1, 16, 1, 1)).expand(-1, -1, 64, 64)
    z = F.conv2d(y * scale, w, padding=1) * ops.spatial_demodulation(w, scale)[:, :, None, None]
    torch.testing.assert_close(
        z[..., 1:-1, 1:-1].var(), torch.ones((), dtype=torch.float64), rtol=0, atol=tolerance("sampled")
    )


def test_spatial_layers():
    f_s, first, kernel = randn(2, 3, 4, 4), (randn(3, 3, 3, 3), randn(2, 3), randn(3)), randn(3, 3, 3, 3)
    a0, alpha, shift = randn(2, 3, 4, 4), randn(2, 3), randn(2, 3, 4, 4)
    noises = randn(1, 1, 4, 4), randn(2, 1, 4, 4)
    y = ops.modulated_conv2d(f_s, first[0], first[1]) + first[2].reshape(1, 3, 1, 1) + noises[0]
    y = F.leaky_relu(y, 0.2) * math.sqrt(2)
    expected = torch.zeros(2, 3, 4, 4, dtype=torch.float64)
    for n in range(2):
        a = torch.stack([a0[n, c] + alpha[n, c] for c in range(3)])
        z = literal_conv(torch.stack([y[n, c] * a[c] for c in range(3)]), kernel)
        for o in range(3):
            energy = sum(kernel[o, i].square().sum() * a[i].square().mean() for i in range(3))
            expected[n, o] = z[o] / math.sqrt(energy + 1e-8) + shift[n, o] + noises[1][n, 0]
    expected = F.leaky_relu(expected, 0.2) * math.sqrt(2)
    for form in ("activation", "weight"):
        close(ops.spatial_layers(f_s, first, kernel, (a0, alpha, shift), noises, up=False, form=form), expected)


def test_to_rgb_is_not_demodulated():
    x, w, style, bias = randn(2, 4, 3, 3), randn(3, 4, 1, 1), randn(2, 4), randn(3)
    expected = torch.einsum("nchw,oc,nc->nohw", x, w[:, :, 0, 0], style) + bias.reshape(1, 3, 1, 1)
    close(ops.to_rgb(x, w, style, bias), expected)


@pytest.mark.parametrize("side", [2, 4, 6, 16])  # smallest, the network's smallest, no power of two, ordinary
def test_fourier_transforms_are_numpys(side):
    x = randn(2, 3, side, side)
    spectrum = np.fft.rfft2(x.numpy(), norm="ortho")
    close(ops.rfft2(x), torch.from_numpy(np.concatenate([spectrum.real, spectrum.imag], 1)))
    # Any real pair of maps, not only the transform of a real picture: a convolution made it.
    pair = randn(2, 6, side, side // 2 + 1).numpy()
    expected = np.fft.irfft2(pair[:, :3] + 1j * pair[:, 3:], s=(side, side), norm="ortho")
    close(ops.irfft2(torch.from_numpy(pair)), torch.from_numpy(expected))


def test_fourier_transforms_of_half_precision_keep_a_large_mean():
    """Only the orthonormal transform in float32 can: the plain sum over 256 x 256 is 65,536, beyond float16."""
    flat = torch.ones(1, 1, 256, 256, dtype=torch.float16)
    spectrum = ops.rfft2(flat)
    assert spectrum.dtype == torch.float16 and spectrum[0, 0, 0, 0].item() == 256
    assert ops.irfft2(spectrum).equal(flat)


def test_known_positions():
    mask = torch.ones(2, 1, 8, 8)
    mask[0, 0, 5, 2] = 0  # one known pixel
    mask[1] = 0
    expected = torch.zeros(2, 1, 4, 4)
    expected[0, 0, 2, 1] = 1
    expected[1] = 1
    assert ops.known_at(mask, 4).equal(expected)


def literal_attention(q, k, v, known):
    """One sample: (L, C) each, known a list of booleans."""
    keys = [i for i, flag in enumerate(known) if flag] or list(range(len(known)))
    out = []
    for query in q:
        weights = torch.tensor([math.exp(query @ k[i] / math.sqrt(q.shape[1])) for i in keys], dtype=q.dtype)
        out.append(sum(weight * v[i] for weight, i in zip(weights / weights.sum(), keys, strict=True)))
    return torch.stack(out)


def test_attention_looks_at_known_positions_only():
    q, k, v = randn(4, 6, 3), randn(4, 6, 3), randn(4, 6, 3)
    known = [[1, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 0], [0] * 6, [1] * 6]  # some, one, none, all
    expected = torch.stack([literal_attention(*sample) for sample in zip(q, k, v, known, strict=True)])
    flags = torch.tensor(known, dtype=torch.float64)[:, None]
    close(ops.attend(q, k, v, flags), expected)
    hidden = flags[:2].transpose(1, 2) == 0
    louder = [t[:2].masked_fill(hidden, 9.0) for t in (k, v)]
    assert ops.attend(q[:2], *louder, flags[:2]).equal(ops.attend(q[:2], k[:2], v[:2], flags[:2]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_attention_hides_unknown_positions_in_every_precision(dtype):
    q = k = torch.full((1, 2, 4), 4.0, dtype=dtype)
    v = torch.tensor([[[1.0], [100.0]]], dtype=dtype).expand(1, 2, 4)
    assert ops.attend(q, k, v, torch.tensor([[[1.0, 0.0]]], dtype=dtype)).eq(1).all()


def test_attention_with_nothing_known_is_attention_with_everything_known():
    """To the last bit: a shift of all logits by -1e4 would cost float32 its last three digits."""
    q, k, v = (torch.randn(1, 8, 4) for _ in range(3))
    assert ops.attend(q, k, v, torch.zeros(1, 1, 8)).equal(ops.attend(q, k, v, torch.ones(1, 1, 8)))


def masks(side: int) -> torch.Tensor:
    """(6, 1, side, side), float64: ragged, a block at the border, one known pixel, one missing, everything, nothing."""
    mask = torch.zeros(6, 1, side, side, dtype=torch.float64)
    mask[0] = torch.rand(1, side, side) < 0.6
    mask[1, :, side // 4 :, : side // 2] = 1
    mask[2] = 1
    mask[2, :, 3, side - 1] = 0
    mask[3, :, 0, 0] = 1
    mask[4] = 1
    return mask


@pytest.mark.parametrize("side", [4, 32])
def test_the_fill_is_push_pull(side):
    image, mask = randn(6, 3, side, side), masks(side)
    filled = ops.fill(ops.known_pyramid(image, mask), ops.enlarge)
    assert [picture.shape[2] for picture in filled] == [1 << i for i in range(side.bit_length())]
    literal = [push_pull(picture, hole) for picture, hole in zip(image.numpy(), mask.numpy()[:, 0] == 1, strict=True)]
    close(filled[-1], torch.from_numpy(np.stack(literal)))
    assert torch.where(mask == 1, image, filled[-1]).equal(image)


def test_a_flat_picture_is_filled_flat_up_to_its_border():
    image, mask = torch.full((6, 3, 16, 16), 0.7, dtype=torch.float64), masks(16)
    filled = ops.fill(ops.known_pyramid(image, mask), ops.enlarge)[-1]
    assert filled[4].eq(0).all()  # nothing known
    close(filled[[0, 1, 2, 3, 5]], image[:5])


def test_the_pyramid_of_half_precision_is_that_of_float32():
    """Shares are multiples of 1/4; what lies in the hole, even infinity, is never divided or multiplied."""
    mask = masks(64)
    image = torch.where(mask == 1, math.inf, torch.rand(6, 3, 64, 64).double() * 2 - 1)
    for dtype in (torch.float16, torch.bfloat16):
        exact = ops.known_pyramid(image.to(dtype).float(), mask.float())
        for (average, known), (wanted, positions) in zip(
            ops.known_pyramid(image.to(dtype), mask.to(dtype)), exact, strict=True
        ):
            assert average.dtype == dtype and known.equal(positions)
            limit = 8 * torch.finfo(dtype).eps  # a rounding or two a level, six levels, values up to one
            assert (average.float() - wanted).abs().max().item() <= limit


def test_enlarging_is_upsampling_away_from_the_border():
    x = randn(2, 3, 6, 6)
    close(ops.enlarge(x)[..., 1:-1, 1:-1], ops.upsample(x)[..., 1:-1, 1:-1])


def test_composite_keeps_known_pixels_whatever_was_generated():
    image, raw = torch.rand(2, 3, 4, 4) * 2 - 1, torch.full((2, 3, 4, 4), math.nan)
    mask = torch.zeros(2, 1, 4, 4)
    mask[:, :, 1:3] = 1
    raw[:, :, 1] = 7.0
    raw[:, :, 2] = -0.25
    expected = image.clone()
    expected[:, :, 1], expected[:, :, 2] = 1.0, -0.25
    assert ops.composite(raw, image, mask).equal(expected)
