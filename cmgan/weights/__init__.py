"""The models that come with the package: a folder each, with its weights, its exported graph and its card."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def bundled() -> dict[str, Path]:
    """The folder of every model that comes with the package, by name."""
    return {manifest.parent.name: manifest.parent for manifest in sorted(_HERE.glob("*/manifest.json"))}
