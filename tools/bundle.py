"""A model as it comes with the package: half the bytes, with its exported graph: `python -m tools.bundle`.

The weights are rounded to float16 once; what is stored, exported and compared from then on is that model.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import onnx
import torch

from cmgan.errors import logger
from cmgan.export.artefact import export_model
from cmgan.export.source import Source
from cmgan.export.trace import OnnxOptions
from cmgan.files import atomic_folder, sha256
from cmgan.model.weights import SHARD_LIMIT, load_generator, save_generator
from tools.compact import compact


class CompactSource(Source):
    """A source whose graphs keep their constants in float16."""

    def graph(self, options: OnnxOptions) -> onnx.ModelProto:
        return compact(super().graph(options), self.generator)


def bundle(model: Path, target: Path, card: Path, *, overwrite: bool = False) -> None:
    """Write the folder `target`: weights in float16, configuration, `model.onnx` with its parity file, the card as
    README.md, and a manifest with the digest of each.

    Args:
        model: the folder of a trained model.
        card: the text for README.md: data, licence, training, numbers.

    Raises:
        NumbersError: the graph does not paint what the model paints.
    """
    loaded = load_generator(model)
    with atomic_folder(target, overwrite=overwrite) as work:
        folder = work / "model"
        save_generator(loaded.generator, folder, trained=loaded.trained, licence=loaded.licence, dtype=torch.float16)
        source = CompactSource(load_generator(folder))
        exported = export_model(source, folder, progress=logger.info)
        (folder / "README.md").write_bytes(card.read_bytes())
        manifest = json.loads((folder / "manifest.json").read_text())
        for file in sorted(folder.iterdir()):
            data = file.read_bytes()
            if len(data) > SHARD_LIMIT:
                raise ValueError(f"{file.name} has {len(data)} bytes; the limit of a bundled file is {SHARD_LIMIT}")
            if file.name != "manifest.json":
                manifest["files"][file.name] = {"size": len(data), "sha256": sha256(data)}
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
        for file in list(folder.iterdir()):
            file.rename(work / file.name)
        folder.rmdir()
    logger.info("%s: %s", target, exported.metadata.verdict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="the folder of a trained model")
    parser.add_argument("card", type=Path, help="the text of its card")
    parser.add_argument("-o", "--output", type=Path, required=True, help="cmgan/weights/NAME")
    arguments = parser.parse_args()
    bundle(arguments.model, arguments.output, arguments.card, overwrite=True)


if __name__ == "__main__":
    main()
