"""Seeded weights: every parameter drawn, also those that training starts at zero.

A path whose gain is zero would hide a broken export. Models for tests, benchmarks and demonstrations are made here; a
model that is going to be trained keeps the initialisation of its constructor.
"""

from __future__ import annotations

import torch

from cmgan.config import GeneratorConfig
from cmgan.model.decoder import MaskedAttention
from cmgan.model.functional import enlarge, fill, known_pyramid
from cmgan.model.generator import Generator
from cmgan.model.layers import Conv, FullyConnected, ModulatedWeight, Noise

BIAS_DEVIATION = 0.1
NOISE_STRENGTH = 0.1
ATTENTION_GAIN = 0.5
RGB_DEVIATION = 0.4  # aimed at, of the output


def seeded_generator(config: GeneratorConfig, seed: int = 0) -> Generator:
    """A generator in evaluation mode whose every parameter is drawn from a random stream of its own seed.

    The output has a standard deviation of about 0.4. The caller's random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = Generator(config)
        with torch.no_grad():
            for module in generator.modules():
                _draw(module)
            _scale_rgb(generator)
    return generator.eval()


def _draw(module: torch.nn.Module) -> None:
    """Draw what the constructor leaves at zero or at one value."""
    match module:
        case FullyConnected():
            drawn = module.bias_init + BIAS_DEVIATION * torch.randn_like(module.bias)
            module.bias.copy_(drawn / module.lr_multiplier)
        case Conv() | ModulatedWeight() if module.bias is not None:
            module.bias.normal_(0, BIAS_DEVIATION)
        case Noise():
            module.strength.fill_(NOISE_STRENGTH * (1 + 0.2 * torch.randn(()).item()))
        case MaskedAttention():
            module.gain.fill_(ATTENTION_GAIN * (1 + 0.2 * torch.randn(()).item()))


def _scale_rgb(generator: Generator) -> None:
    """Scale to-RGB to the deviation wanted of what it adds to the hole, on one picture and two draws of z.

    What it adds is linear in it. Without a known pyramid that is the whole picture, which counts then. The factor keeps
    two digits, so that rounding differences between machines do not change the weights.
    """
    size, z_dim = generator.config.resolution, generator.config.z_dim
    ramp = torch.linspace(-1, 1, size)
    image = torch.stack([ramp.expand(size, size), ramp[:, None].expand(size, size), ramp.outer(ramp)])[None]
    mask = (image[:, :1].abs() < 0.5).float() * (image[:, 1:2].abs() < 0.5)
    raw = generator(image.expand(2, -1, -1, -1), mask.expand(2, -1, -1, -1), torch.randn(2, z_dim))
    if generator.config.fill == "pyramid":
        filled = fill(known_pyramid(image, mask), enlarge)[-1]
        raw = (raw - filled)[(mask > 0.5).expand_as(raw)]
    factor = float(f"{RGB_DEVIATION / raw.std().item():.1e}")
    for name, parameter in generator.named_parameters():
        if ".rgb." in name and ".affine." not in name:
            parameter.mul_(factor)
