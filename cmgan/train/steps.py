"""One step of training: the generator against its losses, then the discriminator against the same pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cmgan.features.maps import extractor
from cmgan.machine import computes_bf16
from cmgan.masks.rng import sample_rng
from cmgan.train import losses
from cmgan.train.augment import Augmentation
from cmgan.train.config import TrainConfig
from cmgan.train.distributed import World
from cmgan.train.double_backward import TwiceDifferentiable
from cmgan.train.networks import Networks, ema_decay, learning_rate_factor
from cmgan.train.perceptual import Perceptual

Terms = dict[str, Tensor]  # of the loss and of the gradients, scalars without a graph


@dataclass(frozen=True)
class Batch:
    """image: (N, 3, R, R) in [-1, 1]. mask: (N, 1, R, R), 1 in the hole; both float32 on the device."""

    image: Tensor
    mask: Tensor

    @classmethod
    def of(cls, sample: dict[str, Tensor], device: torch.device) -> Batch:
        """From a loader's uint8 `image` (N, R, R, 3), which stays in that layout, and bool `hole` (N, R, R)."""
        image = sample["image"].to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 127.5 - 1
        mask = sample["hole"].to(device, non_blocking=True)[:, None].float()
        return cls(image, mask)

    def parts(self, count: int) -> Iterator[Batch]:
        yield from (Batch(*pair) for pair in zip(self.image.chunk(count), self.mask.chunk(count), strict=True))


class Stepper:
    """Moves `networks` by one step at a time. What is random in step k comes from (seed, k, rank) only."""

    def __init__(self, config: TrainConfig, networks: Networks, world: World) -> None:
        self.config, self.networks, self.world = config, networks, world
        self.shared = {name: world.wrapped(module) for name, module in networks.trained.items()}
        self.fast = {name: self._compiled(module) for name, module in self.shared.items()}
        self.judge = self._compiled(networks.discriminator) if networks.discriminator else None  # for the generator
        self.autocast = uses_bfloat16(config.loop.autocast, world.device)
        self.perceptual: Perceptual | None = None
        if config.loss.perceptual:
            network = extractor(config.loss.perceptual_network).to(world.device)
            self.perceptual = Perceptual(network, config.loss.perceptual_side)
        self._w: Tensor | None = None  # the noise code of the last forward pass, for the path lengths
        if config.loss.path_length:
            networks.generator.mapping.register_forward_hook(self._keep_code)

    def _compiled(self, module: nn.Module) -> Callable[..., Tensor]:
        return torch.compile(module) if self.config.loop.compile else module

    def _keep_code(self, module: nn.Module, inputs: Any, w: Tensor) -> None:
        self._w = w

    def step(self, number: int, batch: Batch) -> tuple[Terms, Tensor]:
        """Train on `batch` as step `number`; the terms, and whether every gradient was finite, a bool scalar.

        A network whose gradient is not finite stays as it is in this step. Nothing is read back from the device.
        """
        loop, losses_of = self.config.loop, self.config.loss
        adversarial = bool(losses_of.adversarial_weight) and number >= losses_of.adversarial_from
        draws = sample_rng(loop.seed, number, self.world.rank, "noise")
        torch.manual_seed(int(draws.integers(2**63)))
        terms: Terms = {}
        painted: list[Tensor] = []
        parts = list(batch.parts(loop.accumulate))

        def generate(part: Batch) -> Tensor:
            loss, picture = self._generator_loss(number, part, adversarial, terms)
            painted.append(picture)
            return loss

        finite = self._optimise("generator", number, parts, generate, terms)
        seen = loop.accumulate * loop.batch * self.world.size
        self.networks.average(ema_decay(self.config.optimiser, number * seen, seen))
        if adversarial:
            fakes = iter(painted)

            def discriminate(part: Batch) -> Tensor:
                return self._discriminator_loss(number, part, next(fakes), terms)

            finite &= self._optimise("discriminator", number, parts, discriminate, terms)
        return {name: value / loop.accumulate for name, value in terms.items()}, finite

    def _optimise(
        self, name: str, number: int, parts: list[Batch], loss: Callable[[Batch], Tensor], terms: Terms
    ) -> Tensor:
        """One step of Adam on the mean loss of the parts; False, and no step, where the gradient is not finite.

        Adam itself looks: `found_inf` is how PyTorch's GradScaler tells a fused optimiser to leave all as it is.
        """
        optimiser, options = self.networks.optimisers[name], self.config.optimiser
        base = options.learning_rate if name == "generator" else options.discriminator_learning_rate
        optimiser.param_groups[0]["lr"] = base * learning_rate_factor(options, number, self.config.loop.steps)
        optimiser.zero_grad()
        for part in parts:
            with self._averaging(name, part is parts[-1]):
                (loss(part) / len(parts)).backward()
        gradients = [p.grad for p in self.networks.trained[name].parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        terms[f"{name}_gradient"] = norm * len(parts)
        finite = norm.isfinite()
        optimiser.found_inf = (~finite).float()  # type: ignore[attr-defined]  # its class has no such field
        optimiser.step()
        return finite

    def _averaging(self, name: str, last: bool) -> AbstractContextManager[None]:
        """Gradients are averaged over the processes once a step, in the backward pass of the last part."""
        module = self.shared[name]
        return module.no_sync() if isinstance(module, DistributedDataParallel) and not last else nullcontext()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.autocast)

    def _forward(self, name: str, *inputs: Tensor, penalise: bool, **options: bool) -> Tensor:
        """A network's output in float32; with `penalise`, its gradient is cheap to differentiate again."""
        if not penalise:
            with self._autocast():
                return self.fast[name](*inputs, **options).float()
        with self._autocast(), TwiceDifferentiable():  # which no compiled graph can be
            return self.shared[name](*inputs, **options).float()

    def _generator_loss(self, number: int, part: Batch, adversarial: bool, terms: Terms) -> tuple[Tensor, Tensor]:
        """The loss, and the painted pictures without a graph."""
        options, networks = self.config.loss, self.networks
        z = torch.randn(len(part.image), networks.generator.config.z_dim, device=self.world.device)
        penalise = bool(options.path_length) and number % options.path_length_every == 0
        raw = self._forward("generator", part.image, part.mask, z, penalise=penalise, random_noise=True)
        hole, known = losses.reconstruction(raw, part.image, part.mask)
        weighted = {"l1_hole": (options.l1_hole, hole), "l1_known": (options.l1_known, known)}
        picture = losses.painted(raw, part.image, part.mask)
        if self.perceptual is not None:
            weighted["perceptual"] = options.perceptual, self.perceptual(picture, part.image)
        if adversarial:
            assert networks.discriminator is not None and self.judge is not None
            with _frozen(networks.discriminator), self._autocast():
                scores = self.judge(*self._changed(picture, part.mask)).float()
            loss = losses.generator_adversarial(options.adversarial, scores)
            ramp = options.adversarial_ramp
            share = min(1.0, (number - options.adversarial_from + 1) / ramp) if ramp else 1.0
            weighted["adversarial"] = share * options.adversarial_weight, loss
        if penalise:
            weighted["path_length"] = options.path_length * options.path_length_every, self._path_penalty(raw)
        return _total(weighted, terms), picture.detach()

    def _changed(self, picture: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What the discriminator sees of a generated picture."""
        if not self.config.loss.augment:
            return picture, mask
        change = Augmentation.drawn(picture)
        return change(picture), change.moved(mask)

    def _path_penalty(self, raw: Tensor) -> Tensor:
        assert self._w is not None
        lengths = losses.path_lengths(raw, self._w, torch.randn_like(raw))
        before = self.networks.path_mean
        penalty, mean = losses.path_penalty(lengths, before)
        mean = self.world.sum(mean) / self.world.size
        self.networks.path_mean = torch.where(mean.isfinite(), mean, before)
        return penalty

    def _discriminator_loss(self, number: int, part: Batch, fake: Tensor, terms: Terms) -> Tensor:
        options = self.config.loss
        penalise = bool(options.r1_gamma) and number % options.r1_every == 0
        image = part.image.detach().requires_grad_(penalise)

        change = Augmentation.drawn(image) if options.augment else None

        def judge(picture: Tensor, penalise: bool = True) -> Tensor:
            mask = part.mask
            if change is not None:
                picture, mask = change(picture), change.moved(mask)
            return self._forward("discriminator", picture, mask, penalise=penalise)

        real, false = judge(image, penalise), judge(fake, False)
        weighted = {"discriminator": (1.0, losses.discriminator_adversarial(options.adversarial, real, false))}
        terms["real_score"] = terms.get("real_score", 0) + real.detach().mean()
        terms["fake_score"] = terms.get("fake_score", 0) + false.detach().mean()
        if penalise:
            weighted["r1"] = options.r1_gamma * options.r1_every, losses.masked_r1(real, image, part.mask)
        if options.adversarial == "wasserstein" and options.gradient_penalty:
            share = torch.rand(len(fake), device=fake.device)
            penalty = losses.gradient_penalty(judge, part.image, fake, share)
            weighted["gradient_penalty"] = options.gradient_penalty, penalty
        return _total(weighted, terms)


def uses_bfloat16(autocast: str, device: torch.device) -> bool:
    """What `loop.autocast` comes to here: "auto" is on for CUDA and for processors that multiply bfloat16 themselves;
    elsewhere PyTorch emulates it, many times slower than float32."""
    if autocast == "auto":
        return device.type == "cuda" or computes_bf16()
    return autocast == "on"


def _total(weighted: dict[str, tuple[float, Tensor]], terms: Terms) -> Tensor:
    """The weighted sum; the terms themselves are added to `terms`."""
    for name, (_, value) in weighted.items():
        terms[name] = terms.get(name, 0) + value.detach()
    return torch.stack([weight * value for weight, value in weighted.values()]).sum()


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Without gradients for its parameters, only through them."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)
