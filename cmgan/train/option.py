"""Fields of a configuration: what each means and which values it takes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import field, fields
from typing import Any

from cmgan.errors import UsageError, shown


def option(
    default: Any, what: str, *, least: float | None = None, most: float = math.inf, choices: Iterable[str] = ()
) -> Any:
    """A dataclass field with its meaning, and the least and the largest number or the only words it takes."""
    limits = {"what": what, "least": least, "most": most, "choices": tuple(choices)}
    return field(default=default, metadata=limits)


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
