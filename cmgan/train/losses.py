"""The terms that training adds up, one small function each. All of them are means over the pictures of the batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

ADVERSARIAL = ("non-saturating", "hinge", "wasserstein")


def reconstruction(raw: Tensor, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """L1 in the hole and in the known part, each divided by all positions, so that a small hole weighs little.

    (As in LaMa, Suvorov et al. 2021, section 2.2.)

    Args:
        raw: (N, 3, R, R), what the generator painted, not clamped. image: (N, 3, R, R), the truth.
        mask: (N, 1, R, R), 1 in the hole.

    Returns:
        Two scalars: mean |raw - image| * m, and mean |raw - image| * (1 - m).
    """
    difference = (raw - image).abs()
    return (difference * mask).mean(), (difference * (1 - mask)).mean()


def painted(raw: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """`raw` in the hole, the picture elsewhere, (N, 3, R, R). Not clamped, for there is a gradient beyond the range."""
    return torch.where(mask > 0.5, raw, image)


# -- adversarial: scores (N,), higher is more real -------------------------------------------------------------------


def generator_adversarial(kind: str, fake: Tensor) -> Tensor:
    """What the generator minimises, of the scores of its pictures.

    non-saturating: softplus(-D(G)) (Goodfellow et al. 2014, section 3); hinge (Lim and Ye 2017, equation 4) and
    wasserstein (Arjovsky et al. 2017, algorithm 1): -D(G).
    """
    if kind == "non-saturating":
        return F.softplus(-fake).mean()
    return -fake.mean()


def discriminator_adversarial(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """What the discriminator minimises, of the scores of real pictures and of the generator's; papers as above."""
    if kind == "non-saturating":
        return (F.softplus(fake) + F.softplus(-real)).mean()
    if kind == "hinge":
        return (F.relu(1 + fake) + F.relu(1 - real)).mean()
    return (fake - real).mean()


def masked_r1(scores: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """1/2 E || m * grad D(x) ||^2 on real pictures: only the hole's gradient is penalised.

    (CM-GAN, section 3.3; R1 without the mask: Mescheder et al. 2018, equation 9.)

    Args:
        scores: (N,), D(x) with a graph. image: (N, 3, R, R), the x that the scores come from, requiring a gradient.
        mask: (N, 1, R, R), 1 in the hole.

    Returns:
        A scalar to be multiplied by gamma, with a graph of its own: its gradient is a second derivative of D.
    """
    (gradient,) = torch.autograd.grad(scores.sum(), image, create_graph=True)
    return (gradient * mask).square().sum((1, 2, 3)).mean() / 2


def gradient_penalty(judge: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """E (|| grad D(x) || - 1)^2 at points between real pictures and the generator's.

    (Gulrajani et al. 2017, equation 3.)

    Args:
        judge: picture (N, 3, R, R) -> scores (N,). real, fake: (N, 3, R, R).
        share: (N,) in [0, 1], of the real picture in each point.

    Returns:
        A scalar to be multiplied by lambda, with a graph.
    """
    weight = share[:, None, None, None]
    point = (weight * real + (1 - weight) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(judge(point).sum(), point, create_graph=True)
    return (gradient.square().sum((1, 2, 3)).sqrt() - 1).square().mean()


# -- path length -----------------------------------------------------------------------------------------------------

PATH_DECAY = 0.99  # of the running mean of the lengths


def path_lengths(raw: Tensor, w: Tensor, noise: Tensor) -> Tensor:
    """|| J^T y || for each picture, J = d raw / d w, y = noise / R (StyleGAN2, Karras et al. 2020, section 3.2).

    Args:
        raw: (N, 3, R, R) with a graph to w. w: (N, w_dim), the noise code. noise: (N, 3, R, R) from N(0, 1).

    Returns:
        (N,), with a graph of its own.
    """
    (gradient,) = torch.autograd.grad((raw * noise).sum() / raw.shape[-1], w, create_graph=True)
    wide = torch.promote_types(gradient.dtype, torch.float32)  # under autocast the code is in bfloat16
    return gradient.to(wide).square().sum(1).sqrt()


def path_penalty(lengths: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """E (|| J^T y || - a)^2 and the new a, the running mean of the lengths: (N,) and a scalar -> two scalars."""
    mean = mean.lerp(lengths.detach().mean(), 1 - PATH_DECAY)
    return (lengths - mean).square().mean(), mean
