"""State dictionaries that PyTorch saved (`.pt`, `.pth`), read without running what they might contain."""

from __future__ import annotations

import io
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cmgan.config import PRESETS, GeneratorConfig
from cmgan.errors import ModelError, shown
from cmgan.files import read_model_file
from cmgan.model.generator import Generator
from cmgan.model.weights import check_architecture, check_finite

_LIMIT = 2**32  # bytes of the file, and of what is packed into it
_USUAL = ("g_ema", "generator_ema", "ema", "generator", "state_dict", "model", "params_ema", "params")


def read_state_dict(path: Path, config: GeneratorConfig | None = None, fill: str | None = None) -> Generator:
    """The generator whose weights a `.pt` file holds: a state dictionary, or one under a usual name such as `g_ema`.

    Args:
        path: what `torch.save` wrote; the file is read once.
        config: of the generator; None takes the preset whose names and shapes fit.
        fill: overrides that of the configuration, which no weight tells.

    Raises:
        ModelError: it is no such file, holds anything besides tensors and plain containers, or fits no preset.
    """
    state = _state(_loaded(path), path)
    candidates = [config] if config else list(PRESETS.values())
    shapes = {name: list(tensor.shape) for name, tensor in state.items()}
    for candidate in candidates:
        with torch.device("meta"):
            generator = Generator(replace(candidate, fill=fill or candidate.fill))
        wanted = {name: list(tensor.shape) for name, tensor in generator.state_dict().items()}
        if wanted == shapes:
            break
    else:
        if config is None:
            message = f"fits no preset ({len(shapes)} tensors, first {shown(next(iter(shapes), ''))}); give --preset"
            raise ModelError("other_network", message, file=path)
        check_architecture(generator, shapes, path)
    state = {name: tensor.float().contiguous() for name, tensor in state.items()}
    check_finite(state, path)
    generator.load_state_dict(state, assign=True)
    return generator.eval()


def _loaded(path: Path) -> Any:
    data = read_model_file(path, _LIMIT)
    if path.suffix == ".pkl" or not data.startswith(b"PK\x03\x04"):
        message = "is not what torch.save writes (a zip file); save a state dictionary: torch.save(g.state_dict(), ...)"
        raise ModelError("not_a_checkpoint", message, file=path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > _LIMIT:
            raise ModelError("file_too_large", f"{unpacked} bytes unpacked; the limit is {_LIMIT}", file=path)
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        message = "holds more than tensors, and opening that could run code; save the state dictionary alone"
        raise ModelError("pickle", message, file=path) from None
    except (zipfile.BadZipFile, RuntimeError, EOFError, KeyError, ValueError, AssertionError) as error:
        raise ModelError("damaged", "is damaged or cut off; get the file again", file=path) from error


def _state(values: Any, path: Path) -> dict[str, Tensor]:
    """The first of the usual places that holds tensors by name."""
    places = [values]
    if isinstance(values, dict):
        places += [values[name] for name in _USUAL if name in values]
    for place in places:
        if isinstance(place, dict) and place and all(isinstance(v, Tensor) for v in place.values()):
            return {str(name).removeprefix("module."): tensor for name, tensor in place.items()}
    keys = ", ".join(shown(key) for key in list(values)[:5]) if isinstance(values, dict) else type(values).__name__
    message = f"holds no state dictionary, at its top or under {', '.join(_USUAL)}; it has: {keys}"
    raise ModelError("no_state_dict", message, file=path)
