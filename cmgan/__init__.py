"""CM-GAN: a readable reference of the inpainting network, and exports that paint the same picture.

The public names, loaded when they are first used: `Inpainter`, `InpaintOptions` and `open_engine` (no torch needed for
exported files), `from_pretrained` (torch), `PRESETS`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmgan.config import PRESETS as PRESETS
    from cmgan.inpaint.inpainter import Inpainter as Inpainter
    from cmgan.inpaint.inpainter import InpaintOptions as InpaintOptions
    from cmgan.model.hub import from_pretrained as from_pretrained
    from cmgan.runtime.open import open_engine as open_engine

__version__ = "0.1.0"

_WHERE = {
    "Inpainter": "cmgan.inpaint.inpainter",
    "InpaintOptions": "cmgan.inpaint.inpainter",
    "open_engine": "cmgan.runtime.open",
    "from_pretrained": "cmgan.model.hub",
    "PRESETS": "cmgan.config",
}

__all__ = ["PRESETS", "InpaintOptions", "Inpainter", "from_pretrained", "open_engine"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
