"""The table of a model card: the distances that training did not use, beside simple fillings."""

from __future__ import annotations

from typing import Any

from cmgan.evaluate.bootstrap import CONFIDENCE
from cmgan.evaluate.report import EVERY, MODEL

_DISTANCES = {"lite2": "distance in EfficientNet-Lite2 features", "gmsd": "GMSD"}  # less is better
_PSNR = "hole_psnr"
_BELOW_TELEA = 1.0  # dB of PSNR in the hole that a model may be below Telea's, which paints the smooth mean


def card_table(document: dict[str, Any]) -> list[str]:
    """Lines of Markdown from an `evaluation.json` with the extractor lite2: means, differences, what holds.

    A difference is model minus baseline, filling by filling, with its interval; a distance is beaten where that is
    below zero. Raises `KeyError` where the evaluation had no lite2.
    """
    rows = {row["method"]: row for row in document["rows"] if row["bin"] == EVERY}
    others = [name for name in rows if name != MODEL]
    model = rows.pop(MODEL)
    lines = [
        f"{model['pairs']} fillings of {model['pictures']} photographs at {document['model']['resolution']} pixels, "
        f"set {document['settings']['set_sha256'][:12]}, seed {document['settings']['seed']}:",
        "",
        "| | model | " + " | ".join(others) + " |",
        "| --- |" + " ---: |" * (1 + len(others)),
    ]
    for name, title in (*_DISTANCES.items(), (_PSNR, "PSNR in the hole, dB")):
        digits = 2 if name == _PSNR else 4
        means = [f"{row['scores'][name]['mean']:.{digits}f}" for row in (model, *rows.values())]
        differences = [_shown(model["against"][other][name], digits) for other in others]
        lines.append(f"| {title} | " + " | ".join(means) + " |")
        lines.append(f"| - model minus baseline, {CONFIDENCE:.0%} interval | | " + " | ".join(differences) + " |")
    return [*lines, "", *(f"- {line}" for line in _verdicts(model["against"]))]


def _verdicts(against: dict[str, Any]) -> list[str]:
    lines = []
    for name, title in _DISTANCES.items():
        beaten = [other for other, found in against.items() if (high := found[name]["high"]) is not None and high < 0]
        left = [other for other in against if other not in beaten]
        lines.append(f"{title}: beats {', '.join(beaten) or 'none'}" + (f"; not {', '.join(left)}" if left else ""))
    if "telea" in against:
        difference = against["telea"][_PSNR]["mean"]
        holds = "within" if difference >= -_BELOW_TELEA else "not within"
        lines.append(f"PSNR in the hole: {difference:+.2f} dB of Telea's, {holds} {_BELOW_TELEA:g} dB below")
    return lines


def _shown(difference: dict[str, Any], digits: int) -> str:
    mean, low, high = (None if x is None else f"{x:+.{digits}f}" for x in difference.values())
    return str(mean) if low is None else f"{mean} [{low}, {high}]"
