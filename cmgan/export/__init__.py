"""Artefacts from a generator, each proven against it. Names are loaded when they are first used."""

from __future__ import annotations

import importlib
from typing import Any

_WHERE = {
    "lower_fft": "cmgan.export.lower.lowering",
    "export_model": "cmgan.export.artefact",
    "compare": "cmgan.export.gate.parity",
}

__all__ = ["compare", "export_model", "lower_fft"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
