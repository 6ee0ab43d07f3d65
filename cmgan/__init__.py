"""CM-GAN: a readable reference of the inpainting network, and exports that paint the same picture.

The public names, loaded when they are first used: `Inpainter` and `open_engine` (no torch needed for exported files),
`from_pretrained` and `load_generator` (torch), `PRESETS`.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "Inpainter": "cmgan.inpaint.inpainter",
    "InpaintOptions": "cmgan.inpaint.inpainter",
    "open_engine": "cmgan.runtime.open",
    "from_pretrained": "cmgan.model.hub",
    "load_generator": "cmgan.model.weights",
    "PRESETS": "cmgan.config",
}

__all__ = ["PRESETS", "InpaintOptions", "Inpainter", "from_pretrained", "load_generator", "open_engine"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
