"""What a training run is: a TOML file of seven sections, every field of which the command line may override.

`cmgan train --print-config` prints the file with what each field means.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from cmgan.config import PRESETS, GeneratorConfig, check_options, option
from cmgan.errors import UsageError, shown
from cmgan.files import sha256
from cmgan.masks.config import PUBLISHED, MaskConfig
from cmgan.masks.draw import KINDS

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # of a stage, which its folder is called after
AUTOCAST = ("auto", "on", "off")


@dataclass(frozen=True)
class ModelSection:
    preset: str = option("", "sizes of the network", choices=PRESETS)
    resolution: int = option(0, "pixels to train at, where they are not the preset's; 0: the preset's", least=0)
    start: str = option("", "model folder to start from, of this or half the resolution; empty: drawn weights")
    spectral: bool = option(False, "spectral normalisation in the discriminator")
    licence: str = option("not stated", "of the trained weights, written into the model")


@dataclass(frozen=True)
class DataSection:
    path: str = option("", "pictures: a folder, zip, tar or shards; or procedural:COUNT, drawn from the seed")
    annotations: str = option("", "panoptic annotations: a folder or archive beside them; empty: none")
    validation: str = option("", "pictures to judge by during the run, of none that is trained on; empty: none")
    validation_every: int = option(500, "steps from one look at them to the next", least=1)
    validation_pictures: int = option(64, "of them, the first ones, with a hole each that stays the same", least=1)
    suffix: str = option("", "such as image.jpg: the pictures whose names end so, of samples with several; empty: all")
    smallest_crop: float = option(0.5, "least side of a crop, a share of the picture's shorter side", least=0)
    bad_pictures: str = option("fail", "what a picture that cannot be used does", choices=("fail", "skip"))
    masks: str = option("object-aware", "kind of the masks", choices=KINDS)
    silhouettes: str = option("", "folder of masks that object masks are made of; empty: annotations, or drawn shapes")


@dataclass(frozen=True)
class LossSection:
    l1_hole: float = option(1.0, "weight of the L1 distance in the hole", least=0)
    l1_known: float = option(0.0, "weight of the L1 distance outside it", least=0)
    perceptual: float = option(0.5, "weight of the distance in the features of a pretrained network", least=0)
    perceptual_network: str = option("efficientnet-lite0", "or vgg16:FILE, torchvision's weights")
    perceptual_side: int = option(0, "pixels that pictures are shrunk to for it; 0: as they are", least=0)
    adversarial: str = option("non-saturating", "adversarial loss", choices=("non-saturating", "hinge", "wasserstein"))
    adversarial_weight: float = option(0.0, "its weight; 0: no discriminator at all", least=0)
    adversarial_from: int = option(0, "step at which it begins", least=0)
    adversarial_ramp: int = option(1000, "steps over which its weight grows from 0", least=0)
    augment: bool = option(True, "the discriminator sees everything flipped, shifted and recoloured at random")
    r1_gamma: float = option(10.0, "weight of the masked R1 penalty", least=0)
    r1_every: int = option(16, "steps from one R1 penalty to the next, which then counts so many times", least=1)
    gradient_penalty: float = option(10.0, "lambda of the Wasserstein loss's gradient penalty", least=0)
    path_length: float = option(0.0, "weight of the path-length penalty; 0: none", least=0)
    path_length_every: int = option(8, "steps from one to the next", least=1)


@dataclass(frozen=True)
class OptimiserSection:
    learning_rate: float = option(1e-3, "of Adam, for the generator", least=0)
    discriminator_learning_rate: float = option(1e-3, "of Adam, for the discriminator", least=0)
    beta1: float = option(0.0, "decay of Adam's first moment, below 1", least=0)
    beta2: float = option(0.99, "decay of Adam's second moment, below 1", least=0)
    schedule: str = option("constant", "of both learning rates; cosine ends at 0", choices=("constant", "cosine"))
    warmup: int = option(0, "steps over which the learning rates grow from 0", least=0)
    ema_pictures: int = option(10_000, "half-life of the averaged weights, in pictures", least=0)
    ema_warmup: float = option(0.05, "and at most this share of the pictures seen so far", least=0)


@dataclass(frozen=True)
class LoopSection:
    steps: int = option(100_000, "steps in all", least=1)
    batch: int = option(8, "pictures a forward pass and process", least=1)
    accumulate: int = option(1, "forward passes a step", least=1)
    fit_encoder: int = option(300, "steps that fit the encoder where model.start is of half the resolution", least=0)
    seed: int = option(0, "of everything random", least=0)
    autocast: str = option("auto", "bfloat16 convolutions and products; auto: where they are fast", choices=AUTOCAST)
    channels_last: bool = option(True, "memory layout of the feature maps")
    compile: bool = option(False, "torch.compile of both networks, where no penalty asks for a second derivative")
    deterministic: bool = option(False, "on CUDA, only algorithms that give the same bits every time")


@dataclass(frozen=True)
class RunSection:
    """What changes no number of the result, and so may change when a run goes on."""

    device: str = option("auto", "auto takes cuda where there is one", choices=("auto", "cpu", "cuda"))
    threads: int = option(0, "of each process, on the CPU; 0: PyTorch's choice", least=0)
    workers: int = option(2, "processes that load pictures, beside each training process; 0: none", least=0)
    max_minutes: float = option(0.0, "of this session, which then saves and stops; 0: no limit", least=0)
    max_steps: int = option(0, "step at which this session saves and stops; 0: no limit", least=0)
    log_every: int = option(10, "steps from one line of the journal to the next", least=1)
    save_every: int = option(500, "steps from one checkpoint to the next", least=1)
    grid_every: int = option(500, "steps from one sheet of pictures to the next", least=1)
    keep: int = option(3, "checkpoints that are kept", least=1)
    tensorboard: bool = option(False, "also write TensorBoard's files")


@dataclass(frozen=True)
class TrainConfig:
    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    masks: MaskConfig = PUBLISHED
    loss: LossSection = LossSection()
    optimiser: OptimiserSection = OptimiserSection()
    loop: LoopSection = LoopSection()
    run: RunSection = RunSection()

    def __post_init__(self) -> None:
        """Refuse what no run can be: UsageError names the field, the value and the limit."""
        for section in fields(self):
            check_options(getattr(self, section.name), section.name)
        for name in ("beta1", "beta2"):
            if getattr(self.optimiser, name) >= 1:
                raise UsageError("config", f"optimiser.{name} is {getattr(self.optimiser, name)}; below 1 is needed")
        _ = self.generator  # refuses a resolution that no network has
        if not self.data.path:
            raise UsageError("config", "data.path is missing: the folder or archive of pictures to train on")

    @property
    def generator(self) -> GeneratorConfig:
        """The sizes of the network that is trained."""
        preset = PRESETS[self.model.preset]
        return replace(preset, resolution=self.model.resolution or preset.resolution)

    @property
    def pictures_a_step(self) -> int:
        """Of one process."""
        return self.loop.batch * self.loop.accumulate

    def digest(self) -> str:
        """SHA-256 of everything that shapes the result, the section `run` left out."""
        return sha256(json.dumps(_shaping(self), sort_keys=True).encode())


def _shaping(config: TrainConfig) -> dict[str, Any]:
    return {name: values for name, values in asdict(config).items() if name != "run"}


def differences(before: dict[str, Any], now: TrainConfig) -> list[str]:
    """What differs between the configuration of a run, as `asdict`, and this one, but for the section `run`."""
    found = []
    for section, values in _shaping(now).items():
        old = before.get(section, {})
        found += [f"{section}.{k} {old.get(k)!r} -> {v!r}" for k, v in values.items() if old.get(k) != v]
    return found


@dataclass(frozen=True)
class Stage:
    """One of the stages of a recipe."""

    name: str
    config: TrainConfig


def load_recipe(file: Path | None, overrides: Iterable[str] = ()) -> list[Stage]:
    """The stages of a TOML file: its sections with those of each `[[stages]]` over them; without any a single stage.

    Raises:
        UsageError: as `load_config`; a stage has no name, or that of another.
    """
    values, overrides = _read(file) if file else {}, list(overrides)
    if file is None or "stages" not in values:
        return [Stage("", _made(values, overrides))]
    given = values.pop("stages")
    if not isinstance(given, list) or not given or not all(isinstance(stage, dict) for stage in given):
        raise UsageError("config", "stages is no list of stages; write [[stages]] above each", file=file)
    names = [stage.pop("name", None) for stage in given]
    if not all(isinstance(name, str) and _NAME.fullmatch(name) for name in names) or len(set(names)) < len(names):
        raise UsageError("config", "every one of [[stages]] needs a name of its own, of letters and digits", file=file)
    stages = []
    for name, over in zip(names, given, strict=True):
        _check_sections(over, file)
        merged = {section: values.get(section, {}) | over.get(section, {}) for section in [*values, *over]}
        stages.append(Stage(name, _made(merged, overrides)))
    return stages


def load_config(file: Path | None, overrides: Iterable[str] = ()) -> TrainConfig:
    """The configuration of a TOML file without stages, or of the defaults, with `SECTION.FIELD=VALUE` overrides.

    Raises:
        UsageError: the file cannot be read or is no TOML; a section or field is unknown (the nearest name is given), a
            value is of another type or beyond its limit.
    """
    return _made(_read(file) if file else {}, overrides)


def _made(values: dict[str, Any], overrides: Iterable[str]) -> TrainConfig:
    for text in overrides:
        name, equals, value = text.partition("=")
        section, dot, key = name.strip().partition(".")
        if not equals or not dot:
            raise UsageError("config", f"{shown(text)} is no override; SECTION.FIELD=VALUE is needed")
        values.setdefault(section, {})[key] = _Text(value.strip())
    sections = {section.name: section.default for section in fields(TrainConfig)}
    made = {name: _section(name, _named(name, sections, "section"), given) for name, given in values.items()}
    return TrainConfig(**made)


class _Text(str):
    """A value from the command line, whose type is the field's."""


def _read(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError("config", f"cannot be read ({error.strerror})", file=file) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError("config", f"is no TOML file: {error}", file=file) from error
    _check_sections({name: given for name, given in values.items() if name != "stages"}, file)
    return values


def _check_sections(values: dict[str, Any], file: Path) -> None:
    for name, given in values.items():
        if not isinstance(given, dict):
            raise UsageError("config", f"{shown(name)} stands outside any section; write it below [...]", file=file)


def _section(name: str, default: Any, given: dict[str, Any]) -> Any:
    options = {entry.name: getattr(default, entry.name) for entry in fields(default)}
    typed = {}
    for key, value in given.items():
        typed[key] = _typed(f"{name}.{key}", value, type(_named(key, options, f"field of [{name}]")))
    return replace(default, **typed)


def _named(name: str, known: dict[str, Any], what: str) -> Any:
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, 0)
        raise UsageError("config", f"{shown(name)} is no {what}; did you mean {near[0]}?")
    return known[name]


def _typed(name: str, value: Any, kind: type) -> Any:
    """`value` as `kind`; text from the command line is read as such, a whole number is a float, too."""
    try:
        if isinstance(value, _Text):
            return {"true": True, "false": False}[value] if kind is bool else kind(value)
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is kind:
            return value
    except (KeyError, ValueError):
        pass
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    raise UsageError("config", f"{name} is {shown(value)}; {words[kind]} is needed")


def to_toml(config: TrainConfig) -> str:
    """The configuration as a file that `load_config` takes, each field with its meaning."""
    lines = []
    for section in fields(config):
        lines.append(f"[{section.name}]")
        values = getattr(config, section.name)
        for entry in fields(values):
            setting = f"{entry.name} = {json.dumps(getattr(values, entry.name))}"
            lines.append(f"{setting:40} # {entry.metadata['what']}")
        lines.append("")
    return "\n".join(lines)
