"""Is it the same picture? A comparer that nothing empty, odd or not finite can pass. NumPy only."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cmgan.export.gate.tolerances import EXACT_DB, Tolerance


@dataclass(frozen=True)
class Comparison:
    """Errors of one output against its reference, over the whole picture and in the hole.

    `problem` says why the two cannot be compared; then the numbers are infinite. For uint8 pictures the errors are in
    levels, `equal` is the share of values that do not differ, `near` that of those within two levels; PSNR, in
    decibels, is of the 8-bit range or [-1, 1].
    """

    name: str
    kind: str  # uint8 or float32
    max_abs: float
    mean_abs: float
    hole_max_abs: float
    hole_mean_abs: float
    equal: float
    hole_equal: float
    hole_near: float
    hole_psnr: float
    problem: str = ""

    def failure(self, tolerance: Tolerance) -> str:
        """Why this does not pass, or nothing."""
        if self.problem:
            return f"{self.name}: {self.problem}"
        if self.kind == "uint8":
            limits: dict[str, float] = {"max_abs": tolerance.levels, "hole_max_abs": tolerance.levels}
            floors = {"equal": tolerance.equal, "hole_equal": tolerance.equal}
            floors |= {"hole_near": tolerance.near, "hole_psnr": tolerance.psnr}
        else:
            limits = {"max_abs": tolerance.max_abs, "hole_max_abs": tolerance.max_abs}
            limits |= {"mean_abs": tolerance.mean_abs, "hole_mean_abs": tolerance.mean_abs}
            floors = {}
        values = asdict(self)
        wrong = [f"{k} is {values[k]:.3g}, the limit {limit:.3g}" for k, limit in limits.items() if values[k] > limit]
        wrong += [f"{k} is {values[k]:.5f}, the least {least:.5f}" for k, least in floors.items() if values[k] < least]
        return f"{self.name}: {wrong[0]}" if wrong else ""


def compare(name: str, reference: np.ndarray, candidate: np.ndarray, hole: np.ndarray) -> Comparison:
    """Compare pictures of one kind: uint8 (N, R, R, 3), or raw float32 (N, 3, R, R).

    Args:
        name: of the case, for messages.
        reference: what eager painted.
        candidate: what the artefact painted.
        hole: bool (N, R, R).
    """
    kind = str(reference.dtype)
    problem = _problem(reference, candidate, hole)
    if problem:
        inf = float("inf")
        return Comparison(name, kind, inf, inf, inf, inf, 0.0, 0.0, 0.0, -inf, problem)
    error = np.abs(candidate.astype(np.float64) - reference.astype(np.float64))
    inside = error[hole] if kind == "uint8" else error.transpose(0, 2, 3, 1)[hole]
    square = float(np.square(inside).mean())
    peak = 255.0 if kind == "uint8" else 2.0
    return Comparison(
        name=name,
        kind=kind,
        max_abs=float(error.max()),
        mean_abs=float(error.mean()),
        hole_max_abs=float(inside.max()),
        hole_mean_abs=float(inside.mean()),
        equal=float((error == 0).mean()),
        hole_equal=float((inside == 0).mean()),
        hole_near=float((inside <= 2).mean()),
        hole_psnr=10 * np.log10(peak**2 / square) if square else float("inf"),
    )


def _problem(reference: np.ndarray, candidate: np.ndarray, hole: np.ndarray) -> str:
    """Names to values, the rungs that come before the numbers."""
    if reference.dtype not in (np.uint8, np.float32):
        return f"the reference is {reference.dtype}; uint8 or float32 is needed"
    if candidate.dtype != reference.dtype:
        return f"the type is {candidate.dtype}, not {reference.dtype}"
    if candidate.shape != reference.shape:
        return f"the shape is {candidate.shape}, not {reference.shape}"
    if not reference.size or not hole.any():
        return "there is nothing to compare: an empty picture or hole"
    bad = int(candidate.size - np.isfinite(candidate).sum())
    if bad or not np.isfinite(reference).all():
        return f"{bad} of {candidate.size} values are not finite"
    return ""


def summary(comparisons: list[Comparison]) -> dict[str, Any]:
    """The worst of each error over the cases, for the verdict; comparing nothing is an error of its own."""
    if not comparisons:
        raise ValueError("no comparison was made")
    kinds: dict[str, Any] = {}
    for kind in sorted({c.kind for c in comparisons}):
        rows = [c for c in comparisons if c.kind == kind]
        kinds[kind] = {
            "max_abs": max(c.max_abs for c in rows),
            "mean_abs": max(c.mean_abs for c in rows),
            "hole_max_abs": max(c.hole_max_abs for c in rows),
            "hole_mean_abs": max(c.hole_mean_abs for c in rows),
            "equal": min(c.equal for c in rows),
            "hole_equal": min(c.hole_equal for c in rows),
            "hole_near": min(c.hole_near for c in rows),
            "hole_psnr": min(min(c.hole_psnr for c in rows), EXACT_DB),
        }
    return {"cases": [c.name for c in comparisons], **kinds}
