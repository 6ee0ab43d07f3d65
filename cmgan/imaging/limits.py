"""How large and of what kind a picture may be. Everything here is checked before a pixel is decoded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cmgan.errors import UsageError

MIN_SIDE = 16  # pixels
DEFAULT_FORMATS = ("png", "jpeg", "webp")
EXTRA_FORMATS = ("bmp", "tiff", "avif")

_VARIABLES = {
    "max_file_bytes": "CMGAN_MAX_FILE_BYTES",
    "max_pixels": "CMGAN_MAX_PIXELS",
    "max_side": "CMGAN_MAX_SIDE",
    "max_aspect": "CMGAN_MAX_ASPECT",
}


@dataclass(frozen=True)
class Limits:
    """The limits of one picture. Zero and negative values raise `UsageError`: a limit is never switched off."""

    max_file_bytes: int = 128 * 2**20
    max_pixels: int = 2**26
    max_side: int = 16_384  # pixels
    max_aspect: int = 32  # longer side / shorter side
    formats: tuple[str, ...] = DEFAULT_FORMATS

    def __post_init__(self) -> None:
        for name in _VARIABLES:
            if getattr(self, name) < 1:
                raise UsageError("limit", f"{name} is {getattr(self, name)}; a limit is a whole number of at least 1")
        unknown = set(self.formats) - {*DEFAULT_FORMATS, *EXTRA_FORMATS}
        if unknown:
            known = ", ".join(DEFAULT_FORMATS + EXTRA_FORMATS)
            raise UsageError("formats", f"unknown picture format {sorted(unknown)[0]!r}; known are {known}")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ, **given: Any) -> Limits:
        """The defaults, overridden by `CMGAN_MAX_PIXELS` and its like, overridden by the `given` that are not None.

        Raises:
            UsageError: a variable is not a positive whole number; the message names it.
        """
        values: dict[str, Any] = {}
        for name, variable in _VARIABLES.items():
            if variable in environment:
                values[name] = _positive(variable, environment[variable])
        return cls(**{**values, **{name: value for name, value in given.items() if value is not None}})


def _positive(variable: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) > 0):
        raise UsageError("limit", f"{variable} is {text[:40]!r}; a whole number of at least 1 is needed")
    return int(text)
