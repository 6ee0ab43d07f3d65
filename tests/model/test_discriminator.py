import math

import pytest
import torch

from cmgan.config import PRESETS
from cmgan.model.discriminator import Discriminator, ResidualBlock, minibatch_deviation
from cmgan.model.generator import Generator
from cmgan.model.layers import Conv, FullyConnected
from tests.model.test_functional import close, literal_conv, literal_fir, randn
from tests.tolerances import tolerance

TINY = PRESETS["tiny-64"]


@pytest.mark.parametrize(("batch", "group"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 1), (6, 3), (8, 4)])
def test_minibatch_deviation(batch, group):
    x = randn(batch, 3, 2, 4)
    out = minibatch_deviation(x)
    assert out.shape == (batch, 4, 2, 4) and out[:, :3].equal(x)
    for n in range(batch):
        start = n // group * group
        values = x[start : start + group]
        total = 0.0
        for c in range(3):
            for i in range(2):
                for j in range(4):
                    seen = [v.item() for v in values[:, c, i, j]]
                    mean = sum(seen) / group
                    total += math.sqrt(sum((v - mean) ** 2 for v in seen) / group + 1e-8)
        close(out[n, 3], torch.full((2, 4), total / 24, dtype=torch.float64))


def test_residual_block():
    block, x = ResidualBlock(2, 3).double(), randn(1, 2, 4, 4)
    block.first.bias.data, block.second.bias.data = randn(2), randn(3)

    def activated(t):
        return torch.where(t > 0, t, 0.2 * t) * math.sqrt(2)

    y = activated(literal_conv(x[0], block.first.weight / math.sqrt(18)) + block.first.bias[:, None, None])
    y = literal_conv(literal_fir(y, 1, 2, 2), block.second.weight / math.sqrt(18))  # at all positions, padded by one
    y = activated(y[:, 1::2, 1::2] + block.second.bias[:, None, None])
    short = literal_conv(literal_fir(x[0], 1, 1, 1)[:, ::2, ::2], block.shortcut.weight / math.sqrt(2))
    close(block(x)[0], (y + short) / math.sqrt(2))


@pytest.mark.parametrize("spectral", [False, True])
def test_one_score_a_picture_and_every_parameter_is_used(spectral):
    critic = Discriminator(TINY, spectral=spectral)
    image, mask = torch.rand(4, 3, 64, 64) * 2 - 1, torch.zeros(4, 1, 64, 64)
    mask[:, :, 10:30, 10:50] = 1
    score = critic(image, mask)
    assert score.shape == (4,) and score.isfinite().all()
    score.sum().backward()
    assert [n for n, p in critic.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert not critic(image, 1 - mask).equal(score)


def test_spectral_normalisation_gives_every_layer_norm_one():
    critic = Discriminator(TINY, spectral=True)
    for _ in range(30):  # power iterations
        critic(torch.randn(2, 3, 64, 64), torch.zeros(2, 1, 64, 64))
    critic.eval()
    layers = [m for m in critic.modules() if isinstance(m, Conv | FullyConnected)]
    norms = torch.stack([torch.linalg.matrix_norm((m.weight * m.gain).flatten(1), 2) for m in layers])
    torch.testing.assert_close(norms, torch.ones(len(layers)), rtol=0, atol=tolerance("power_iteration"))


@pytest.mark.parametrize("spectral", [False, True])
def test_gradient_penalty_through_both_networks(spectral):
    """R1 differentiates a gradient: it must reach the discriminator's and, through the picture, the generator's."""
    critic, generator = Discriminator(TINY, spectral=spectral), Generator(TINY)
    image, mask, z = torch.rand(2, 3, 64, 64) * 2 - 1, torch.ones(2, 1, 64, 64), torch.randn(2, TINY.z_dim)
    mask[:, :, :20] = 0
    picture = generator.complete(image, mask, z)
    (gradient,) = torch.autograd.grad(critic(picture, mask).sum(), picture, create_graph=True)
    (mask * gradient).square().sum().backward()
    for network in (
        critic.blocks[0].first,
        critic.blocks[-1].second,
        generator.encoder.stem,
        generator.cascades[2].rgb,
    ):
        gradients = [p.grad for p in network.parameters()]
        assert all(g is not None and g.isfinite().all() and g.any() for g in gradients)
