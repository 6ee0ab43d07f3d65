"""The networks that a run holds: generator, its running average, discriminator, and Adam's moments of both."""

from __future__ import annotations

import copy
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from cmgan.config import GeneratorConfig
from cmgan.errors import ModelError, UsageError
from cmgan.model.decoder import Cascade
from cmgan.model.discriminator import Discriminator
from cmgan.model.generator import Generator
from cmgan.model.weights import load_generator
from cmgan.train.config import OptimiserSection, TrainConfig
from cmgan.train.grow import grown

# What to-RGB starts with is drawn times this: the sum over all scales would be far beyond [-1, 1], and the fill of the
# known pyramid is a picture already.
_FIRST_RGB = {"none": 0.1, "pyramid": 0.02}

Tensors = dict[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)


class Networks:
    """All tensors of a run. `ema` is what is exported: the generator's weights averaged over the last steps."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        torch.manual_seed(config.loop.seed)
        generator, self.small = _generator(config)
        self.generator = _placed(generator, config, device)
        self.ema = copy.deepcopy(self.generator).eval().requires_grad_(False)
        if device.type == "cuda":
            _choose_algorithms(config.loop.deterministic)
        self.discriminator: Discriminator | None = None
        if config.loss.adversarial_weight:
            discriminator = Discriminator(self.generator.config, spectral=config.model.spectral)
            self.discriminator = _placed(discriminator, config, device)
        self.path_mean = torch.zeros((), device=device)  # running mean of the path lengths
        self.optimisers = {name: _adam(module, config.optimiser) for name, module in self.trained.items()}

    @property
    def trained(self) -> dict[str, Generator | Discriminator]:
        """What the optimisers move, by name."""
        both = {"generator": self.generator, "discriminator": self.discriminator}
        return {name: module for name, module in both.items() if module is not None}

    def average(self, decay: float) -> None:
        """ema = decay * ema + (1 - decay) * generator."""
        theirs: list[Tensor] = list(self.ema.parameters())
        ours: list[Tensor] = [p.detach() for p in self.generator.parameters()]
        torch._foreach_lerp_(theirs, ours, 1 - decay)

    def model_tensors(self) -> Tensors:
        """Weights and buffers, named `generator.*`, `discriminator.*`, `ema.*`, and `path_mean`."""
        tensors: Tensors = {"path_mean": self.path_mean}
        for name, module in [*self.trained.items(), ("ema", self.ema)]:
            tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
        return tensors

    def optimiser_tensors(self) -> Tensors:
        """Adam's moments and counts, named `generator.PARAMETER.exp_avg` and so on."""
        tensors: Tensors = {}
        for name, module in self.trained.items():
            states = self.optimisers[name].state
            for key, parameter in module.named_parameters():
                tensors |= {f"{name}.{key}.{what}": value for what, value in states.get(parameter, {}).items()}
        return tensors

    def load(self, model: Tensors, optimiser: Tensors) -> None:
        """Take up what `model_tensors` and `optimiser_tensors` gave; ModelError where it is another network's.

        Values are copied into the memory layout of the parameters, without which Adam would round differently.
        """
        try:
            for name, module in [*self.trained.items(), ("ema", self.ema)]:
                module.load_state_dict(_part(model, name))
            self.path_mean.copy_(model["path_mean"])
        except (KeyError, RuntimeError) as error:
            raise ModelError("checkpoint", "the checkpoint is of other networks than the configuration's") from error
        for name, module in self.trained.items():
            values = _part(optimiser, name)
            for key, parameter in module.named_parameters():
                state = {what.rpartition(".")[2]: value for what, value in _part(values, key).items()}
                moments = {what: _like(value, parameter) for what, value in state.items()}
                if moments:
                    self.optimisers[name].state[parameter] = moments


def _generator(config: TrainConfig) -> tuple[Generator, Generator | None]:
    """The network of the preset, initialised for training or with the weights of `model.start`; and the model of half
    the resolution that it is grown from, where it is."""
    wanted = config.generator
    if not config.model.start:
        generator = Generator(wanted)
        for module in generator.modules():
            if isinstance(module, Cascade):
                module.rgb.weight.data.mul_(_FIRST_RGB[wanted.fill])
        return generator, None
    generator = load_generator(Path(config.model.start)).generator
    if generator.config == wanted:
        return generator, None
    if generator.config == replace(wanted, resolution=wanted.resolution // 2):
        return grown(generator), generator
    message = f"is a {_shape(generator.config)}, which neither is nor grows to a {_shape(wanted)}"
    raise UsageError("config", message, file=config.model.start)


def _shape(config: GeneratorConfig) -> str:
    return f"{config.name} of {config.resolution} pixels with fill {config.fill}"


def _placed(module: Network, config: TrainConfig, device: torch.device) -> Network:
    """The module on the device, its weights in the memory layout wanted, ready to be trained."""
    layout = torch.channels_last if config.loop.channels_last else torch.contiguous_format
    return module.to(device).to(memory_format=layout).train()  # type: ignore[call-overload]  # which torch leaves out


def _choose_algorithms(deterministic: bool) -> None:
    """For CUDA: the fastest ones with TF32, or those that give the same bits every time."""
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may add up in another order
        torch.use_deterministic_algorithms(True)


def _adam(module: nn.Module, options: OptimiserSection) -> torch.optim.Adam:
    return torch.optim.Adam(module.parameters(), betas=(options.beta1, options.beta2), eps=1e-8, fused=True)


def _part(tensors: Tensors, name: str) -> Tensors:
    start = f"{name}."
    return {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """`value` on the parameter's device and, where it has its shape, in its memory layout."""
    if value.shape != parameter.shape:
        return value.to(parameter.device)
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


def learning_rate_factor(options: OptimiserSection, step: int, steps: int) -> float:
    """What multiplies the learning rates at `step` of `steps`: the warm-up, then the schedule."""
    warm = min(1.0, (step + 1) / options.warmup) if options.warmup else 1.0
    if options.schedule == "cosine":
        return warm * (1 + math.cos(math.pi * step / steps)) / 2
    return warm


def ema_decay(options: OptimiserSection, seen: int, pictures: int) -> float:
    """The decay for a step of `pictures`, of which `seen` went before: half-lives grow with the pictures seen, so that
    the average forgets the initial weights (the warm-up of StyleGAN2-ADA, Karras et al. 2020b)."""
    half_life = min(options.ema_pictures, options.ema_warmup * seen)
    return 0.5 ** (pictures / half_life) if half_life > 0 else 0.0
