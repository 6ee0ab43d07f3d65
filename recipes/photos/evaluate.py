"""Judge a model on eight photographs that training never saw: `python recipes/photos/evaluate.py MODEL OUTPUT`.

MODEL is a model folder, a preset or an exported file. Every photograph is filled in eight fixed holes (object-aware,
5 to 50 % of the picture), beside OpenCV's Telea and Navier-Stokes and a mean colour; the table of the model card is
printed. Nothing is downloaded: the extra `eval` brings seven photographs, `prepare.py` the eighth (`--held-out`).

| photograph | from | licence |
| --- | --- | --- |
| astronaut | scikit-image: Eileen Collins, NASA Great Images | public domain |
| chelsea | scikit-image: Stefan van der Walt | CC0 |
| coffee | scikit-image: Rachel Michetti, courtesy of Pikolo Espresso Bar | CC0 |
| rocket | scikit-image: DSCOVR on Falcon 9, SpaceX | public domain |
| motorcycle | scikit-image: left picture of Middlebury's stereo benchmark of 2014, Scharstein et al. | none stated |
| china | scikit-learn: danielbuechele | CC-BY-2.0 |
| flower | scikit-learn: vultilion | CC-BY-2.0 |
| held-out | Debian package, see LICENCES.md in held-out.tar | free, as written there |

The photographs are read and measured here; the report's picture sheet shows them and stays with whoever made it.
"""

from __future__ import annotations

import argparse
import io
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


def main() -> int:
    options = parser().parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gather(folder / "images", options.held_out)
        write_fixed_masks(folder / "masks")
        code = run(
            ["eval", "--model", options.model, "--images", str(folder / "images"), "--masks", str(folder / "masks")]
            + ["--output", str(options.output), "--extractor", "lite2", "--quiet"]
            + ["--overwrite"] * options.overwrite
        )
    if code == 0:
        print("\n".join(card_table(json.loads((options.output / "evaluation.json").read_text()))))
    return code


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    result.add_argument("model", help="a model folder, a preset or an exported file")
    result.add_argument("output", type=Path, help="folder for the report")
    result.add_argument("--held-out", type=Path, help="held-out.tar of prepare.py, or a picture; without: seven")
    result.add_argument("--overwrite", action="store_true", help="replace the report that is there")
    return result


def gather(folder: Path, held_out: Path | None) -> None:
    """The photographs as PNG files; `cmgan eval` cuts and scales them."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    folder.mkdir()
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        Image.fromarray(getattr(data, name)()).save(folder / f"{name}.png")
    Image.fromarray(data.stereo_motorcycle()[0]).save(folder / "motorcycle.png")
    for name in ("china", "flower"):
        Image.fromarray(load_sample_image(f"{name}.jpg")).save(folder / f"{name}.png")
    if held_out is None:
        print("without --held-out these are seven photographs, not eight", file=sys.stderr)
    else:
        with Image.open(io.BytesIO(first_picture(held_out))) as picture:
            picture.convert("RGB").save(folder / "held-out.png")


def first_picture(path: Path) -> bytes:
    """A picture file, or the first one of a tar."""
    if path.suffix != ".tar":
        return path.read_bytes()
    with tarfile.open(path) as tar:
        member = next(m for m in tar if m.isfile() and m.name.lower().endswith((".jpg", ".jpeg", ".png")))
        file = tar.extractfile(member)
        assert file is not None  # a regular file has one
        return file.read()


def write_fixed_masks(folder: Path) -> None:
    """The eight masks, which are drawn from a seed and must be those that earlier reports had."""
    document = write_masks(evaluation_masks("object-aware", 8, MASK_SIDE, 2022, bins=MASK_BINS), folder)
    if document["digest"] != MASKS_SHA256:
        sys.exit(f"the masks are not the fixed ones: digest {document['digest']}, not {MASKS_SHA256}")


if __name__ == "__main__":
    sys.exit(main())
