"""`cmgan eval`: what an engine's fillings are worth."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cmgan.cli import completion
from cmgan.cli.options import Device, Json, Model, Overwrite, Threads
from cmgan.cli.render import terminal, write_json
from cmgan.config import chosen_model
from cmgan.errors import UsageError

if TYPE_CHECKING:
    from cmgan.evaluate.pictures import Collection

_Option = typer.Option
_EXAMPLES = """Examples:

cmgan eval --model out/model.onnx --images photos/ --masks masks/ -o runs/judged

cmgan eval --images photos/ --masks masks/ --by-name --extractor lite2 --extractor lpips:vgg16.pth -o judged

cmgan eval --images photos/validation.tar --masks masks/ -o judged"""


def register(app: typer.Typer) -> None:
    app.command("eval", epilog=_EXAMPLES)(evaluate)


def evaluate(
    images: Annotated[Path, _Option("--images", help="A folder, zip, tar or folder of tars of whole pictures.")],
    masks: Annotated[Path, _Option("--masks", help="A folder of masks; white is the hole.")],
    output: Annotated[Path, _Option("--output", "-o", help="The report's folder.")],
    model: Model = None,
    by_name: Annotated[bool, _Option("--by-name", help="Masks named after pictures; else each with each.")] = False,
    baselines: Annotated[
        str,
        _Option("--baselines", help="Simple fillings to compare with.", autocompletion=completion.baselines),
    ] = "telea,navier-stokes,biharmonic,harmonic,push-pull,patchmatch,mean",
    extractor: Annotated[
        list[str] | None,
        _Option(
            "--extractor",
            help="lite2 (default), lite0, open-nsfw, none, inception:FILE or lpips:FILE; repeatable.",
        ),
    ] = None,
    seed: Annotated[int, _Option("--seed", help="0 to 2**63 - 1: of the fillings and of the intervals.")] = 0,
    device: Device = "cpu",
    threads: Threads = 0,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Judge an engine on pictures and masks: errors, similarities, distances of features, by size of hole."""
    from cmgan.evaluate.files import write_evaluation
    from cmgan.evaluate.report import render, to_json
    from cmgan.evaluate.run import EvaluationRequest, open_extractors
    from cmgan.evaluate.run import evaluate as judge
    from cmgan.evaluate.summary import summarise
    from cmgan.files import check_target
    from cmgan.runtime.engine import EngineOptions
    from cmgan.runtime.open import open_engine

    check_target(output, overwrite=overwrite)
    names = tuple(name for name in baselines.split(",") if name)
    collection = _collection(images, by_name)
    request = EvaluationRequest(images, masks, collection, by_name, seed, names)
    extractors = open_extractors(None if extractor is None else [e for e in extractor if e != "none"], device)
    engine = open_engine(chosen_model(model, None), EngineOptions(device=device, threads=threads))
    with terminal.progress("reading") as step:
        found = judge(engine, request, extractors, step)
    report = summarise(engine.info, request, extractors, found)
    terminal.show(render(report))
    for path in write_evaluation(report, found, output, overwrite=overwrite):
        terminal.say(str(path))
    write_json(json, json_text.loads(to_json(report)))


def _collection(images: Path, by_name: bool) -> Collection | None:
    """The pictures of an archive; None for a plain folder, whose masks may be named after them."""
    if not images.is_file() and not any(images.glob("*.tar")):
        return None
    from cmgan.train.data.pictures import open_pictures

    if by_name:
        raise UsageError("by_name", "--by-name is for a folder of pictures; those of an archive get every mask")
    return open_pictures(images)
