"""The sizes of the network: one frozen dataclass, one table of presets; and fields that know their limits."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any, Literal

from cmgan.errors import ModelError, UsageError, shown
from cmgan.formats import model_in
from cmgan.weights import bundled

FILLS = ("pyramid", "none")


@dataclass(frozen=True)
class GeneratorConfig:
    """Every number that shapes the generator. The network works at `resolution` x `resolution` only."""

    name: str  # preset the sizes come from
    resolution: int  # R, pixels; a power of two, 16 to 4096
    channel_base: int  # channels at scale r: min(channel_base / r, channel_max)
    channel_max: int
    z_dim: int  # noise vector, drawn from N(0, 1)
    w_dim: int  # each half of the global code g = [s; w]
    mapping_layers: int  # fully connected layers from z to w
    attention_resolution: int  # attention at this scale and below
    fill: str  # "pyramid": known pixels at every scale, see `cmgan.model.functional.known_pyramid`; "none": the paper

    def __post_init__(self) -> None:
        if not 16 <= self.resolution <= 4096 or self.resolution & (self.resolution - 1):
            raise UsageError("resolution", f"resolution {self.resolution}: a power of two from 16 to 4096 is needed")
        for field in ("channel_base", "channel_max", "z_dim", "w_dim", "mapping_layers"):
            if not 1 <= getattr(self, field) <= 65536:
                raise UsageError("config", f"{field} {getattr(self, field)}: a number from 1 to 65536 is needed")
        if self.fill not in FILLS:
            raise UsageError("config", f"fill {self.fill!r}: one of {', '.join(FILLS)} is needed")
        if self.channels(self.resolution) < 4:
            seen = f"{self.channels(self.resolution)} channels at scale {self.resolution}"
            raise UsageError("config", f"{seen}: Fourier convolutions need at least 4, to split them in halves twice")

    @property
    def scales(self) -> list[int]:
        """The sides of the feature maps, coarse to fine: 4, 8, ..., R."""
        return [4 << i for i in range(int(math.log2(self.resolution)) - 1)]

    def channels(self, scale: int) -> int:
        """c(r), the number of channels of the feature map of side `scale`."""
        return min(self.channel_base // scale, self.channel_max)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> GeneratorConfig:
        """The inverse of `to_dict`; an unknown, missing, mistyped or impossible field raises `ModelError`."""
        wanted = {f.name: {"str": str, "int": int}[str(f.type)] for f in fields(cls)}
        if set(values) != set(wanted):
            odd = ", ".join(sorted(set(values) ^ set(wanted)))
            raise ModelError("config", f"the model configuration has unknown or missing fields: {odd}")
        for field, kind in wanted.items():
            if type(values[field]) is not kind:
                raise ModelError("config", f"field {field} is {values[field]!r}; {kind.__name__} is needed")
        try:
            return cls(**values)
        except UsageError as error:
            raise ModelError("config", f"the model configuration has {error.message}") from error


def _preset(
    name: str, resolution: int, base: int, top: int, z: int, attention: int, fill: str = "pyramid"
) -> GeneratorConfig:
    return GeneratorConfig(name, resolution, base, top, z, z, 4, attention, fill)


PresetName = Literal["paper-512", "paper-256", "small-512", "small-256", "mini-256", "tiny-64"]
PRESETS: dict[str, GeneratorConfig] = {
    config.name: config
    for config in (
        #                     R    base   max    z  attention at and below
        _preset("paper-512", 512, 32768, 512, 512, 32, "none"),
        _preset("paper-256", 256, 32768, 512, 512, 32, "none"),
        _preset("small-512", 512, 8192, 128, 512, 32),
        _preset("small-256", 256, 8192, 128, 512, 32),
        _preset("mini-256", 256, 4096, 64, 256, 32),
        _preset("tiny-64", 64, 1024, 32, 64, 16),
    )
}

# What is used where no model is named; it comes with the package, in `cmgan.weights`.
DEFAULT_MODEL = "photos-256"

# `--res` alone chooses one of these.
PRESET_OF_RESOLUTION = {512: "small-512", 256: "small-256", 64: "tiny-64"}


def chosen_model(model: str | None, resolution: int | None) -> str:
    """The model that is meant where one, both or neither of `--model` and `--res` is given: a name, or a path.

    Raises:
        UsageError: no preset has that resolution, or the preset that was named has another; those of `model_in`.
    """
    if model is not None:
        if model in PRESETS:
            check_resolution(resolution, PRESETS[model].resolution, model)
        return model if model in (*bundled(), *PRESETS) else str(model_in(Path(model)))
    if resolution is None:
        return DEFAULT_MODEL
    if resolution not in PRESET_OF_RESOLUTION:
        known = ", ".join(map(str, sorted(PRESET_OF_RESOLUTION)))
        raise UsageError("resolution", f"--res {resolution}: there are presets for {known}; or give --model")
    return PRESET_OF_RESOLUTION[resolution]


def check_resolution(wanted: int | None, has: int, what: str = "the model") -> None:
    """Raise `UsageError` for a `--res` that the model does not have: a network works at one resolution."""
    if wanted is not None and wanted != has:
        raise UsageError("resolution", f"--res {wanted}: {what} works at {has} x {has} only; leave --res out")


def preset(name: str) -> GeneratorConfig:
    """The preset of that name; an unknown one raises `UsageError` with the list."""
    if name not in PRESETS:
        raise UsageError("preset", f"{name!r} is no preset; the presets are {', '.join(PRESETS)}")
    return PRESETS[name]


def option(
    default: Any, what: str, *, least: float | None = None, most: float = math.inf, choices: Iterable[str] = ()
) -> Any:
    """A dataclass field with its meaning, and the least and the largest number or the only words it takes."""
    limits = {"what": what, "least": least, "most": most, "choices": tuple(choices)}
    return dataclass_field(default=default, metadata=limits)


def check_options(values: Any, section: str) -> None:
    """Raise `UsageError` for a field of the dataclass `values`, a `section`, that is beyond its limits."""
    for entry in fields(values):
        _check(f"{section}.{entry.name}", getattr(values, entry.name), entry.metadata)


def _check(name: str, value: Any, limits: Any) -> None:
    if limits["choices"] and value not in limits["choices"]:
        raise UsageError("config", f"{name} is {shown(value) or 'missing'}; one of {', '.join(limits['choices'])}")
    least, most = limits["least"], limits["most"]
    if least is None or (least <= value <= most and value < math.inf):
        return
    needed = f"at least {least}" if most == math.inf else f"{least} to {most}"
    raise UsageError("config", f"{name} is {value}; a number of {needed} is needed")
