"""Parameters and operations against counts made by hand."""

import pytest

from cmgan.config import PRESETS
from cmgan.model.count import Cost, count
from cmgan.model.initialise import seeded_generator

TINY = PRESETS["tiny-64"]


def test_parts_add_up_to_the_whole():
    costs = count(TINY)
    assert list(costs) == ["encoder", "codes", "global stream", "spatial stream", "attention", "rgb", "all"]
    parts = [cost for name, cost in costs.items() if name != "all"]
    assert costs["all"] == Cost(sum(c.parameters for c in parts), sum(c.flops for c in parts))
    assert costs["all"].parameters == sum(p.numel() for p in seeded_generator(TINY).parameters())


def conv(side, channels_in, channels_out, size):
    """A convolution of stride 1: a multiplication and an addition a tap."""
    return 2 * side**2 * channels_in * channels_out * size**2


def up(side, channels_in, channels_out):
    """The transposed convolution runs over the coarse positions; then the FIR, 16 taps a channel and fine position."""
    return conv(side // 2, channels_in, channels_out, 3) + conv(side, channels_out, 1, 4)


def test_flops_by_hand():
    c, code, costs = TINY.channels, 2 * TINY.w_dim, count(TINY)
    assert costs["codes"].flops == 2 * (c(4) * 16 * 64 + 4 * 64 * 64)

    start = 2 * 64 * c(4) * 16
    expected = start + 2 * conv(4, 32, 32, 3) + 2 * 2 * code * 32
    for r in (8, 16, 32):
        expected += up(r, c(r // 2), c(r)) + conv(r, c(r), c(r), 3) + 2 * code * (c(r // 2) + c(r))
    expected += up(64, c(32), c(64)) + 2 * code * c(32)  # the finest scale has one global layer
    # Demodulation: style squared (1, Ci) times the squared weights (Ci, Co), in every one of these layers.
    pairs = [(4, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16), (16, 32), (32, 32), (32, 64)]
    expected += 2 * sum(c(a) * c(b) for a, b in pairs)
    assert costs["global stream"].flops == expected

    attention = 0
    for side in (4, 8, 16):
        attention += 4 * conv(side, 32, 32, 1) + 2 * 2 * side**4 * 32  # four projections; q k and weights v
    assert costs["attention"].flops == attention

    rgb = sum(conv(r, c(r), 3, 1) + 2 * code * c(r) for r in TINY.scales)
    rgb += sum(conv(r, 3, 1, 4) for r in (1, 2, 4, 8, 16, 32))  # the fill, zero-inserted, through the FIR
    rgb += sum(conv(r, 3, 1, 4) for r in (2, 4, 8, 16, 32))  # the picture so far, which starts at the side of 2
    assert costs["rgb"].flops == rgb


def test_fourier_transforms_count_as_matrix_products():
    """In the encoder: what the products with constant matrices take, 12 H^2 (H / 2 + 1) a channel and direction."""
    c, encoder = TINY.channels, conv(64, 4, 16, 1)
    for r in TINY.scales[::-1]:
        coarser = r if r == 64 else 2 * r
        ci, co, width = c(coarser), c(r), c(r) // 4
        encoder += 3 * conv(r, ci // 2, co // 2, 3)
        encoder += conv(r, ci // 2, width, 1) + conv(r, width, co // 2, 1)
        encoder += 2 * (2 * width) ** 2 * r * (r // 2 + 1)  # on the half spectrum
        encoder += 2 * 12 * r**2 * (r // 2 + 1) * width
        encoder += 0 if r == 64 else 2 * 16 * ci * (coarser + 1) ** 2  # the FIR before halving
    assert count(TINY)["encoder"].flops == encoder


@pytest.mark.parametrize("name", PRESETS)
def test_sizes_of_the_presets(name):
    """Millions of parameters and billions of operations, as the documentation gives them."""
    cost = count(PRESETS[name])["all"]
    known = {
        "paper-512": (110.3, 408.7),
        "paper-256": (109.4, 291.5),
        "small-512": (13.3, 33.1),
        "small-256": (13.1, 20.6),
        "mini-256": (3.3, 5.9),
        "tiny-64": (0.5, 0.2),
    }
    assert (round(cost.parameters / 1e6, 1), round(cost.flops / 1e9, 1)) == known[name]
