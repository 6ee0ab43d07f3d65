"""Every term against a literal computation in float64: sums written out, gradients by finite differences."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cmgan.train import losses
from tests.tolerances import tolerance

SHAPE = (2, 3, 4, 4)  # the smallest with several pictures, colours and positions
EXACT = {"rtol": 0, "atol": tolerance("float64")}
DIFFERENCED = {"rtol": tolerance("finite_difference"), "atol": tolerance("finite_difference")}


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def holes() -> Tensor:
    mask = torch.zeros(SHAPE[0], 1, *SHAPE[2:], dtype=torch.float64)
    mask[0, 0, 1:3, :2] = 1
    mask[1, 0, 3, 2] = 1
    return mask


class Judge(nn.Module):
    """A small smooth discriminator, with parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(drawn(4, 48))
        self.out = nn.Parameter(drawn(4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x.flatten(1) @ self.weight.t() / 7) @ self.out


def numeric_gradient(judge: Judge, image: Tensor) -> np.ndarray:
    """d D(x_n) / d x_n, one number at a time, by central differences."""
    step = 1e-5
    gradient = np.zeros(image.shape)
    with torch.no_grad():
        for place in np.ndindex(*image.shape):
            moved = [image.clone(), image.clone()]
            moved[0][place] += step
            moved[1][place] -= step
            up, down = (judge(x)[place[0]].item() for x in moved)
            gradient[place] = (up - down) / (2 * step)
    return gradient


def test_reconstruction_is_the_mean_difference_inside_and_outside():
    raw, image, mask = drawn(*SHAPE), drawn(*SHAPE), holes()
    inside = outside = 0.0
    for n, c, y, x in np.ndindex(*SHAPE):
        difference = abs(raw[n, c, y, x].item() - image[n, c, y, x].item())
        if mask[n, 0, y, x] == 1:
            inside += difference
        else:
            outside += difference
    hole, known = losses.reconstruction(raw, image, mask)
    torch.testing.assert_close(hole.item(), inside / raw.numel(), **EXACT)
    torch.testing.assert_close(known.item(), outside / raw.numel(), **EXACT)


def test_painted_keeps_the_picture_and_the_gradient_beyond_the_range():
    raw, image, mask = (3 * drawn(*SHAPE)).requires_grad_(), drawn(*SHAPE), holes()
    losses.painted(raw, image, mask).sum().backward()
    everywhere = mask.expand(SHAPE)
    assert torch.equal(raw.grad, everywhere)
    assert torch.equal(losses.painted(raw, image, mask)[everywhere == 0], image[everywhere == 0])


def test_generator_losses_are_the_papers():
    scores = drawn(5)
    values = scores.tolist()
    non_saturating = sum(-math.log(1 / (1 + math.exp(-s))) for s in values) / 5
    torch.testing.assert_close(losses.generator_adversarial("non-saturating", scores).item(), non_saturating, **EXACT)
    for kind in ("hinge", "wasserstein"):
        torch.testing.assert_close(losses.generator_adversarial(kind, scores).item(), -sum(values) / 5, **EXACT)


def test_discriminator_losses_are_the_papers():
    real, fake = drawn(5), drawn(5)
    pairs = list(zip(real.tolist(), fake.tolist(), strict=True))

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    literal = {
        "non-saturating": sum(-math.log(sigmoid(r)) - math.log(1 - sigmoid(f)) for r, f in pairs) / 5,
        "hinge": sum(max(0.0, 1 - r) + max(0.0, 1 + f) for r, f in pairs) / 5,
        "wasserstein": sum(f - r for r, f in pairs) / 5,
    }
    assert set(literal) == set(losses.ADVERSARIAL)
    for kind, value in literal.items():
        torch.testing.assert_close(losses.discriminator_adversarial(kind, real, fake).item(), value, **EXACT)


def test_masked_r1_is_half_the_squared_gradient_in_the_hole():
    judge, image, mask = Judge(), drawn(*SHAPE), holes()
    gradient = numeric_gradient(judge, image)
    literal = 0.0
    for n, c, y, x in np.ndindex(*SHAPE):
        literal += (mask[n, 0, y, x].item() * gradient[n, c, y, x]) ** 2
    image.requires_grad_()
    penalty = losses.masked_r1(judge(image), image, mask)
    torch.testing.assert_close(penalty.item(), literal / SHAPE[0] / 2, **DIFFERENCED)


def test_masked_r1_looks_at_the_hole_only():
    """A judge of the known pixels alone is not penalised; without the mask it would be."""
    image, mask = drawn(*SHAPE).requires_grad_(), holes()
    scores = (image * (1 - mask)).square().sum((1, 2, 3))
    assert losses.masked_r1(scores, image, mask).item() == 0
    scores = (image * (1 - mask)).square().sum((1, 2, 3))
    assert losses.masked_r1(scores, image, torch.ones_like(mask)).item() > 0


def test_masked_r1_moves_the_weights_of_the_judge_rightly():
    """Its second derivatives against finite differences of the whole penalty, a few weights."""
    judge, image, mask = Judge(), drawn(*SHAPE), holes()

    def penalty() -> Tensor:
        x = image.clone().requires_grad_()
        return losses.masked_r1(judge(x), x, mask)

    penalty().backward()
    step = 1e-5
    for place in [(0, 0), (1, 21), (3, 47)]:
        analytic = judge.weight.grad[place].item()
        values = []
        for sign in (step, -step):
            with torch.no_grad():
                judge.weight[place] += sign
            values.append(penalty().item())
            with torch.no_grad():
                judge.weight[place] -= sign
        torch.testing.assert_close(analytic, (values[0] - values[1]) / (2 * step), **DIFFERENCED)


def test_gradient_penalty_is_taken_between_the_pictures():
    judge, real, fake, share = Judge(), drawn(*SHAPE), drawn(*SHAPE), torch.tensor([0.25, 0.75], dtype=torch.float64)
    points = torch.stack([share[n] * real[n] + (1 - share[n]) * fake[n] for n in range(2)])
    gradient = numeric_gradient(judge, points)
    literal = sum((math.sqrt((gradient[n] ** 2).sum()) - 1) ** 2 for n in range(2)) / 2
    penalty = losses.gradient_penalty(judge, real, fake, share)
    torch.testing.assert_close(penalty.item(), literal, **DIFFERENCED)
    penalty.backward()
    assert judge.weight.grad.abs().sum() > 0


def test_path_lengths_are_norms_of_the_jacobian_product():
    matrix, w, noise = drawn(48, 5), drawn(2, 5).requires_grad_(), drawn(*SHAPE)
    raw = torch.sin(w @ matrix.t()).reshape(SHAPE)
    lengths = losses.path_lengths(raw, w, noise)
    for n in range(2):
        jacobian = torch.cos(w[n] @ matrix.t())[:, None] * matrix  # of sin(M w)
        product = jacobian.t() @ (noise[n].flatten() / SHAPE[-1])
        torch.testing.assert_close(lengths[n].item(), product.square().sum().sqrt().item(), **EXACT)


def test_path_penalty_is_the_distance_from_the_running_mean():
    lengths, mean = torch.tensor([1.0, 3.0], dtype=torch.float64), torch.tensor(5.0, dtype=torch.float64)
    penalty, moved = losses.path_penalty(lengths, mean)
    a = 0.99 * 5 + 0.01 * 2
    torch.testing.assert_close(moved.item(), a, **EXACT)
    torch.testing.assert_close(penalty.item(), ((1 - a) ** 2 + (3 - a) ** 2) / 2, **EXACT)


@pytest.mark.parametrize("kind", losses.ADVERSARIAL)
def test_the_players_pull_in_opposite_directions(kind):
    fake = drawn(3).requires_grad_()
    losses.generator_adversarial(kind, fake).backward()
    assert (fake.grad < 0).all()  # a higher score lowers the generator's loss
    fake.grad = None
    with torch.no_grad():
        fake.clamp_(min=-0.5)  # within the reach of the hinge
    losses.discriminator_adversarial(kind, drawn(3), fake).backward()
    assert (fake.grad > 0).all()
