"""Do two inpainting files, of anyone, paint the same picture? The cases and the comparer are those of every export."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from cmgan.errors import ModelError, NumbersError
from cmgan.export.gate.cases import parity_cases, stacked
from cmgan.export.gate.parity import compare, summary
from cmgan.export.gate.tolerances import TOLERANCES
from cmgan.files import read_model_file, sha256, write_atomically
from cmgan.runtime.engine import Engine, EngineOptions
from cmgan.runtime.metadata import PREFIX
from cmgan.runtime.onnx.file import ONNX_LIMIT
from cmgan.runtime.open import open_artefact

AGAINST = f"{PREFIX}against"  # the key of the verdict in `metadata_props`


def check_against(path: Path, reference: Path, options: EngineOptions | None = None) -> dict[str, Any]:
    """Paint the six cases with both files and compare, in the whole picture and in the hole alone. The verdict also
    goes into an ONNX file's `metadata_props`, under `cmgan.against`.

    Raises:
        ModelError: a file is no usable artefact, or they are of two resolutions.
        NumbersError: naming the first case that differs by more than the tolerance of the precision of `path`.
    """
    options = options or EngineOptions()
    with open_artefact(path, options) as engine:
        at_its_size = replace(options, resolution=engine.info.resolution)
        with open_artefact(reference, at_its_size) as other:
            verdict = same_pictures(engine, other, path)
    verdict |= {"reference": reference.name, "reference_sha256": sha256(read_model_file(reference, ONNX_LIMIT))}
    if path.suffix == ".onnx":
        _write(path, verdict)
    return verdict


def same_pictures(engine: Engine, reference: Engine, path: Path) -> dict[str, Any]:
    """The worst errors over the six cases; errors as for `check_against`."""
    mine, its = engine.info, reference.info
    if (mine.resolution, mine.z_dim) != (its.resolution, its.z_dim):
        sizes = f"{mine.resolution} with z of {mine.z_dim} against {its.resolution} with z of {its.z_dim}"
        raise ModelError("not_comparable", f"the two are of different sizes: {sizes}", file=path)
    tolerance = TOLERANCES.get(mine.precision, TOLERANCES["fp32"])
    comparisons = []
    for case in parity_cases(mine.resolution, mine.z_dim):
        arrays = stacked([case])
        comparison = compare(case.name, reference(*arrays), engine(*arrays), case.mask[None] >= 128)
        failure = comparison.failure(tolerance)
        if failure:
            raise NumbersError("parity", f"does not paint what {its.name} ({its.format}) paints: {failure}", file=path)
        comparisons.append(comparison)
    return {"values": "passed", **summary(comparisons)}


def _write(path: Path, verdict: dict[str, Any]) -> None:
    model = onnx.load(path, load_external_data=False)
    kept = [entry for entry in model.metadata_props if entry.key != AGAINST]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=AGAINST, value=json.dumps(verdict))
    write_atomically(path, model.SerializeToString())
