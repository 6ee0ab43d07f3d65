"""The table of a model card: two judges that training did not use and two guards, beside fillings without a network."""

from __future__ import annotations

from typing import Any

from cmgan.evaluate.bootstrap import CONFIDENCE
from cmgan.evaluate.report import EVERY, MODEL
from cmgan.tables import markdown

_PRIMARY, _SECOND = "hole_lite2", "hole_open_nsfw"
_DISTANCES = {  # less is better; differences are shown as shares of the baseline's mean
    _PRIMARY: "EfficientNet-Lite2, in the hole",
    "lite2": "EfficientNet-Lite2, whole picture",
    _SECOND: "open_nsfw, in the hole",
    "open_nsfw": "open_nsfw, whole picture",
}
_GUARDS = {"psnr": ("PSNR, dB", 2), "gmsd": ("GMSD", 4)}
_FAR = 0.10  # a lead that is worth naming
_BELOW_HARMONIC = 0.5  # dB of PSNR that a model may be below the smoothest filling
_Differences = dict[str, dict[str, Any]]  # baseline -> mean, low, high


def card_table(document: dict[str, Any]) -> list[str]:
    """Lines of Markdown from an `evaluation.json` with the extractor lite2: means, differences, what holds.

    A difference is model minus baseline, filling by filling, with its interval; a distance is below where that is below
    zero. Without the extractor open-nsfw there is no second judge. Raises `KeyError` where there was no lite2.
    """
    rows = {row["method"]: row for row in document["rows"] if row["bin"] == EVERY}
    model = rows.pop(MODEL)
    content = [["", MODEL, *rows]]
    for name, title in _DISTANCES.items():
        if name in model["scores"] or name == _PRIMARY:
            content.append([title, *(f"{row['scores'][name]['mean']:.3f}" for row in (model, *rows.values()))])
            means = {other: row["scores"][name]["mean"] for other, row in rows.items()}
            shown = [_percent(model["against"][other][name], means[other]) for other in rows]
            content.append([f"- difference, {CONFIDENCE:.0%} interval", "", *shown])
    for name, (title, digits) in _GUARDS.items():
        content.append([title, *(f"{row['scores'][name]['mean']:.{digits}f}" for row in (model, *rows.values()))])
        shown = [_absolute(model["against"][other][name], digits) for other in rows]
        content.append([f"- difference, {CONFIDENCE:.0%} interval", "", *shown])
    return [
        f"{model['pairs']} fillings of {model['pictures']} photographs at {document['model']['resolution']} pixels, "
        f"set {document['settings']['set_sha256'][:12]}, seed {document['settings']['seed']}:",
        "",
        *markdown(content),
        "",
        *(f"- {line}" for line in _verdicts(model, rows)),
    ]


def _verdicts(model: dict[str, Any], rows: dict[str, Any]) -> list[str]:
    differences = {name: {other: model["against"][other][name] for other in rows} for name in model["scores"]}
    primary = differences[_PRIMARY]
    below = [other for other in rows if _is_below(primary[other])]
    far = [other for other in below if -primary[other]["mean"] >= _FAR * rows[other]["scores"][_PRIMARY]["mean"]]
    near = [other for other in below if other not in far]
    parts = [(f"{_FAR:.0%} or more below", far), ("below", near), ("not below", [o for o in rows if o not in below])]
    lines = [f"{_DISTANCES[_PRIMARY]}: " + "; ".join(f"{what} {', '.join(names)}" for what, names in parts if names)]
    if _SECOND in differences:
        lines.append(_second_judge(primary, differences[_SECOND]))
    return lines + _guards(differences)


def _second_judge(primary: _Differences, second: _Differences) -> str:
    apart = [other for other in primary if (primary[other]["mean"] < 0) != (second[other]["mean"] < 0)]
    surely = [other for other in second if _is_below(second[other])]
    return f"{_DISTANCES[_SECOND]}: below {', '.join(surely) or 'none'}; " + (
        f"of another sign against {', '.join(apart)}" if apart else "of the same sign against each"
    )


def _guards(differences: dict[str, _Differences]) -> list[str]:
    lines = []
    if "harmonic" in differences["psnr"]:
        decibels = differences["psnr"]["harmonic"]["mean"]
        holds = "within" if decibels >= -_BELOW_HARMONIC else "not within"
        lines.append(f"PSNR: {decibels:+.2f} dB of harmonic's, {holds} {_BELOW_HARMONIC:g} dB below")
    if "navier-stokes" in differences["gmsd"]:
        gmsd = differences["gmsd"]["navier-stokes"]["mean"]
        lines.append(f"GMSD: {gmsd:+.4f} beside navier-stokes, {'at most its own' if gmsd <= 0 else 'above it'}")
    return lines


def _is_below(difference: dict[str, Any]) -> bool:
    return difference["high"] is not None and difference["high"] < 0


def _percent(difference: dict[str, Any], of: float) -> str:
    mean, low, high = (None if x is None else f"{100 * x / of:+.1f}" for x in difference.values())
    return f"{mean} %" if low is None else f"{mean} % [{low}, {high}]"


def _absolute(difference: dict[str, Any], digits: int) -> str:
    mean, low, high = (None if x is None else f"{x:+.{digits}f}" for x in difference.values())
    return str(mean) if low is None else f"{mean} [{low}, {high}]"
