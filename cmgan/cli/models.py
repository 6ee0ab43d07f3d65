"""`cmgan init`, `cmgan info`, `cmgan doctor`: models and the machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmgan.cli.completion import models
from cmgan.cli.options import Json, Overwrite, Signature
from cmgan.cli.render import terminal, write_json
from cmgan.config import PresetName
from cmgan.errors import needs

if TYPE_CHECKING:
    from cmgan.runtime.inspect import Graph

_SHOWN_LAYERS = 10  # the most expensive ones
_INIT_EXAMPLES = """Examples:

cmgan init my-model --preset small-512 --seed 7"""
_CONVERT_EXAMPLES = """Examples:

cmgan convert generator.pt -o my-model --licence CC-BY-4.0"""
_INFO_EXAMPLES = """Examples:

cmgan info

cmgan info small-512

cmgan info out/model.onnx

cmgan info out/model.xml --json layers.json"""


Fill = Annotated[
    str | None, typer.Option("--fill", help="pyramid: the known pixels at every scale; none; else the preset's.")
]


def register(app: typer.Typer) -> None:
    app.command(epilog=_INIT_EXAMPLES)(init)
    app.command(epilog=_CONVERT_EXAMPLES)(convert)
    app.command(epilog=_INFO_EXAMPLES)(info)
    app.command()(doctor)


def init(
    folder: Annotated[Path, typer.Argument(help="The model folder to write.")],
    preset: Annotated[
        PresetName, typer.Option("--preset", help="Its sizes; cmgan info lists the presets.")
    ] = "small-512",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the weights.")] = 0,
    fill: Fill = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Write a model folder with seeded, untrained weights."""
    from cmgan.config import preset as preset_of
    from cmgan.files import check_target

    config = preset_of(preset)
    config = replace(config, fill=fill or config.fill)
    check_target(folder, overwrite=overwrite)
    weights, initialise = _model_modules()
    generator = initialise.seeded_generator(config, seed)
    weights.save_generator(generator, folder, trained=False, licence=weights.SEEDED_LICENCE, overwrite=overwrite)
    terminal.say(f"{folder}: {config.name}, untrained weights of seed {seed}")
    terminal.say(f"next: cmgan export --format onnx --model {folder} -o out")
    write_json(json, _saved(folder, generator, trained=False) | {"seed": seed})


def convert(
    source: Annotated[Path, typer.Argument(help="A state dictionary that torch.save wrote (.pt, .pth).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model folder to write.")],
    licence: Annotated[str, typer.Option("--licence", help="Of the weights, for the model's configuration.")],
    preset: Annotated[PresetName | None, typer.Option("--preset", help="Its sizes; else the preset that fits.")] = None,
    fill: Fill = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Make a model folder of a PyTorch state dictionary, without running what the file might contain."""
    from cmgan.config import preset as preset_of
    from cmgan.files import check_target

    check_target(output, overwrite=overwrite)
    weights, _ = _model_modules()
    from cmgan.model.convert import read_state_dict

    generator = read_state_dict(source, preset_of(preset) if preset else None, fill)
    weights.save_generator(generator, output, trained=True, licence=licence, overwrite=overwrite)
    terminal.say(f"{output}: {generator.config.name}, weights of {source}")
    terminal.say(f"next: cmgan export --format onnx --model {output} -o out")
    write_json(json, _saved(output, generator, trained=True) | {"source": str(source)})


def _saved(folder: Path, generator: Any, *, trained: bool) -> dict[str, Any]:
    weights, _ = _model_modules()
    digest = weights.weights_digest(generator)
    return {"model": str(folder), **generator.config.to_dict(), "trained": trained, "weights_sha256": digest}


def info(
    model: Annotated[
        str | None, typer.Argument(help="A preset, a model folder or an exported file.", autocompletion=models)
    ] = None,
    signature: Signature = "",
    json: Json = None,
) -> None:
    """Show a model's sizes and cost, or what an exported file says and is made of; without a model, the presets."""
    from cmgan.config import PRESETS, chosen_model
    from cmgan.formats import format_of_file
    from cmgan.runtime.null import ABOUT as NULL_ABOUT
    from cmgan.runtime.null import NAME as NULL
    from cmgan.weights import bundled

    model = model and chosen_model(model, None)
    if model is None:
        document: dict[str, Any] = {"presets": {name: config.to_dict() for name, config in PRESETS.items()}}
        document["bundled"], document["null"] = list(bundled()), NULL_ABOUT
        _show_rows("preset", document["presets"])
        terminal.say(f"{', '.join(bundled())}: trained, comes with the package")
        terminal.say(f"{NULL}: {NULL_ABOUT}")
    elif format_of_file(Path(model)) is not None:
        document = _artefact(Path(model), signature)
    else:
        document = _network(model)
    write_json(json, document)


def doctor(json: Json = None) -> None:
    """Show what works on this machine, and how to get what does not."""
    from cmgan.cli.doctor import survey

    rows = survey()
    from rich.table import Table

    table = Table()
    for head, width in (("what", 24), ("here", 37), ("to get it", 29)):  # 100 columns with the lines between
        table.add_column(head, max_width=width, overflow="fold")
    for row in rows:
        table.add_row(row.what, row.here, row.remedy)
    terminal.show(table)
    write_json(json, {"rows": [vars(row) for row in rows]})


def _foreign(path: Path, signature: str, graph: Graph) -> dict[str, Any]:
    """Of an ONNX file that cmgan did not export: what it is taken for, and why."""
    from cmgan.runtime.engine import EngineOptions
    from cmgan.runtime.onnx.engine import OnnxEngine

    with OnnxEngine(path, EngineOptions(signature=signature)) as engine:
        found = engine.signature
        facts = found.facts() if found else {"name": engine.metadata.pipeline, "resolution": engine.info.resolution}
    about = found.about if found else f"a {engine.metadata.pipeline} graph of cmgan's without its metadata"
    _show_pairs(str(path), {"taken for": about, **facts, "bytes": path.stat().st_size})
    return {"file": str(path), "signature": facts, "bytes": {path.name: path.stat().st_size}} | _graph(graph)


def _artefact(path: Path, signature: str) -> dict[str, Any]:
    from dataclasses import asdict

    from cmgan.runtime.inspect import foreign_graph, inspect
    from cmgan.runtime.sidecar import files_of

    if (foreign := foreign_graph(path)) is not None:
        return _foreign(path, signature, foreign)
    metadata, graph = inspect(path)
    facts = asdict(metadata)
    sizes = {file.name: file.stat().st_size for file in files_of(path)}
    raw = {"raw_output": metadata.raw}
    shown = {name: value for name, value in facts.items() if name != "raw"} | raw
    _show_pairs(str(path), shown | {"verdict": metadata.verdict.get("values"), "bytes": sizes})
    document: dict[str, Any] = {"file": str(path), "metadata": facts, "bytes": sizes}
    return document | (_graph(graph) if graph else {})


def _graph(graph: Graph) -> dict[str, Any]:
    """Show operators and the most expensive layers; all of them are in the document."""
    from dataclasses import asdict

    terminal.say(", ".join(f"{count} {name}" for name, count in graph.operators.items()))
    terminal.say(f"{graph.constants / 1e6:.1f} million constants, {graph.flops / 1e9:.1f} GFLOP a picture")
    shown = {
        layer.name: {
            "operator": layer.operator,
            "output": " x ".join(map(str, layer.output)),
            "GFLOP": layer.flops / 1e9,
            "%": 100 * layer.flops / graph.flops,
        }
        for layer in graph.layers[:_SHOWN_LAYERS]
    }
    if shown:
        _show_rows("layer", shown)
    return asdict(graph) | {"flops": graph.flops}


def _network(model: str) -> dict[str, Any]:
    weights, _ = _model_modules()
    from cmgan.model.count import count

    loaded = weights.resolve(model)
    config = loaded.generator.config
    parts = {
        name: {"million parameters": cost.parameters / 1e6, "GFLOP a picture": cost.flops / 1e9}
        for name, cost in count(config).items()
    }
    document = {**config.to_dict(), "trained": loaded.trained, "weights_sha256": loaded.digest}
    _show_pairs(model, document)
    _show_rows("part", parts)
    return document | {"parts": parts}


def _model_modules() -> tuple[Any, Any]:
    with needs("a model folder", "cmgan[torch]"):
        from cmgan.model import initialise, weights
    return weights, initialise


def _show_rows(first: str, rows: dict[str, dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(first, *(key.replace("_", " ") for key in next(iter(rows.values()))))
    for name, row in rows.items():
        table.add_row(name, *(f"{v:,.2f}" if isinstance(v, float) else str(v) for v in row.values()))
    terminal.show(table)


def _show_pairs(title: str, pairs: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("", title, show_header=True)
    for key, value in pairs.items():
        if text := _in_words(value):
            table.add_row(key.replace("_", " "), text)
    terminal.show(table)


def _in_words(value: Any) -> str:
    """A value as people write it; nothing for one that says nothing."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_in_words(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_in_words, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
