"""What a GPU check found, as a table, as the winners that "auto" follows, and as a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Record = dict[str, Any]


def markdown(everything: Record) -> str:
    """The whole report for people."""
    stages = everything["stages"]
    stamp = ", ".join(f"{name} {value}" for name, value in everything["environment"].items() if isinstance(value, str))
    lines = ["# What only a GPU can tell", "", stamp, ""]
    if everything["rehearsal"]:
        lines += ["**A rehearsal on a CPU: no figure here is a measurement.**", ""]
    lines += ["| stage | status | seconds | results | failed |", "| --- | --- | --- | --- | --- |"]
    for name, report in stages.items():
        lines.append(
            f"| {name} | {report['status']} | {report['seconds']} | {len(report['results'])} | {report['failed']} |"
        )
    for name in ("layers", "models", "compile"):
        results = stages.get(name, {}).get("results", [])
        if results:
            lines += ["", f"## {name}", "", *(_layers if name == "layers" else _models)(results)]
    failures = [(name, r) for name, report in stages.items() for r in report["results"] if not r.get("passed", True)]
    if failures:
        lines += ["", "## Failures", "", *(f"- {name}: {_short(record)}" for name, record in failures)]
    return "\n".join(lines) + "\n"


def _layers(results: list[Record]) -> list[str]:
    lines = [
        "Microseconds of the fastest of each kind, caches warm, launches not counted.",
        "",
        "| N | layer | floor | eager | eager channels-last | conv + epilogue | fold | fused | fastest | x floor |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in (r for r in results if "ways" in r):
        times = {name: entry["us"] for name, entry in r["ways"].items() if entry.get("passed")}
        fused = [us for name, us in times.items() if name.startswith("fused")]
        cells = [f"{r['floor_us']:.1f}"]
        cells += [_number(times.get(name)) for name in ("eager", "eager channels-last", "conv + epilogue", "fold")]
        cells += [_number(min(fused, default=None))]
        cells += [r["winner"]["name"], f"{r['winner']['us'] / r['floor_us']:.2f}"] if "winner" in r else ["none", "-"]
        layer = f"{r['kind']} {r['channels_in']} to {r['channels_out']} @ {r['side']}"
        lines.append(f"| {r['batch']} | {layer} | {' | '.join(cells)} |")
    return lines


def _models(results: list[Record]) -> list[str]:
    measured = [r for r in results if "ms" in r]
    eager = {"way": "eager", "dtype": "float32", "tf32": True, "cuda_graph": False}
    base = {r["preset"]: r["ms"] for r in measured if r.items() >= eager.items()}
    lines = ["| preset | dtype | way | graph | TF32 | ms | x eager float32 | max error | eager's |", "|" + " --- |" * 9]
    for r in measured:
        speed = f"{base[r['preset']] / r['ms']:.2f}" if r["preset"] in base else "-"
        cells = r["preset"], r["dtype"], r["way"], _yes(r["cuda_graph"]), _yes(r["tf32"]), f"{r['ms']:.3f}", speed
        lines.append("| " + " | ".join((*cells, f"{r['error']:.1e}", f"{r['eager_error']:.1e}")) + " |")
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _short(record: Record) -> str:
    return ", ".join(f"{name} {value}" for name, value in record.items() if not isinstance(value, (dict, list)))


def winners_text(results: list[Record], stamp: Record) -> str:
    """The text of a `winners.json` from the layer table's results."""
    from cmgan.kernels.winners import Layer, Tile, Way, batch_bucket, winners_json

    winners = {}
    for r in results:
        tile = r["winner"]["tile"]
        way = Way(r["winner"]["path"], None if tile is None else Tile(*tile))
        bucket = batch_bucket(r["batch"])
        key = Layer(_arch(), r["dtype"], bucket, r["kind"], r["channels_in"], r["channels_out"], r["side"])
        winners[key] = way, r["winner"]["us"]
    kept = {name: value for name, value in stamp.items() if name in ("date", "gpu", "commit", "torch", "triton")}
    return winners_json(winners, kept)


def _arch() -> int:
    """90 for sm_90; 0, which matches nothing, where there is no GPU."""
    import torch

    if not torch.cuda.is_available():
        return 0
    major, minor = torch.cuda.get_device_capability()
    return 10 * major + minor


def plot(path: Path, results: list[Record]) -> None:
    """Each layer's fastest way against its roofline floor."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from cmgan.files import write_with

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for kind, marker in (("same", "o"), ("up", "^"), ("spatial", "s"), ("rgb", "D")):
        chosen = [r for r in results if r["kind"] == kind]
        axes.scatter([r["floor_us"] for r in chosen], [r["winner"]["us"] for r in chosen], marker=marker, label=kind)
    limits = [min(r["floor_us"] for r in results), max(r["winner"]["us"] for r in results)]
    axes.plot(limits, limits, color="black", label="the floor")
    axes.set(xscale="log", yscale="log", xlabel="roofline floor, us", ylabel="fastest way measured, us")
    axes.legend()
    write_with(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120))
