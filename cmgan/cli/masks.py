"""`cmgan masks`: fixed sets of masks as picture files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cmgan.cli.options import Json, Overwrite
from cmgan.cli.render import terminal, write_json

_EXAMPLES = """Examples:

cmgan masks -o masks --count 100 --res 256 --kind thick

cmgan masks -o masks --count 5000 --annotations panoptic/"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EXAMPLES)(masks)


def masks(
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many masks.")],
    res: Annotated[int, typer.Option("--res", min=16, max=4096, help="Their side in pixels.")] = 512,
    kind: Annotated[
        Literal["object-aware", "free-form", "rectangles", "thin", "medium", "thick"],
        typer.Option("--kind", help="What is drawn."),
    ] = "object-aware",
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed, the same masks.")] = 0,
    annotations: Annotated[
        Path | None, typer.Option("--annotations", help="Panoptic annotations (PNG and JSON): spare their things.")
    ] = None,
    silhouettes: Annotated[
        Path | None, typer.Option("--silhouettes", help="A folder of masks to take the shapes of objects from.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Write a fixed set of masks (PNG, white = hole) and masks.json, which has the digests."""
    from cmgan.files import check_target
    from cmgan.masks.evaluation import evaluation_masks, write_masks
    from cmgan.masks.silhouettes import silhouettes_from
    from cmgan.train.data.pictures import open_pictures

    check_target(output, overwrite=overwrite)
    # The PNGs of the ids stand for their pictures, which are not needed.
    pictures = None if annotations is None else open_pictures(annotations, annotations)
    chosen = evaluation_masks(
        kind, count, res, seed, pictures=pictures, silhouettes=silhouettes_from(silhouettes, pictures)
    )
    with terminal.progress("drawing masks", total=count) as step:
        document = write_masks(chosen, output, overwrite=overwrite, progress=step)
    ratios = [row["ratio"] for row in document["masks"]]
    terminal.say(f"{output}: {count} masks, {min(ratios):.0%} to {max(ratios):.0%} hole")
    terminal.say(f"sha256 of the set: {document['digest']}")
    write_json(json, {"folder": str(output), **document})
