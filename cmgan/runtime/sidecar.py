"""`NAME.json` beside an artefact that has no place for metadata of its own: `model.xml.json`, `model.pt2.json`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from cmgan.errors import ModelError
from cmgan.files import read_model_file, sha256
from cmgan.runtime.metadata import Metadata

_LIMIT = 2**20  # bytes of a sidecar
_LARGEST = 2**32  # bytes of an artefact's file


def sidecar_of(artefact: Path) -> Path:
    """Where the metadata of an artefact stand."""
    return artefact.with_name(f"{artefact.name}.json")


def write_sidecar(artefact: Path, metadata: Metadata, files: tuple[Path, ...]) -> None:
    """Write the metadata and the SHA-256 of the artefact's `files`, which stand beside it."""
    digests = {file.name: sha256(read_model_file(file, _LARGEST)) for file in files}
    sidecar_of(artefact).write_text(json.dumps(asdict(metadata) | {"files": digests}, indent=2) + "\n")


def read_sidecar(artefact: Path) -> tuple[Metadata, dict[str, bytes]]:
    """The metadata of an artefact, and the bytes of its files, which are those that the metadata were written for.

    Raises:
        ModelError: a file is missing or another one than at export; the sidecar is none, or a newer cmgan's.
    """
    path = sidecar_of(artefact)
    if not path.exists():
        message = f"has no {path.name} beside it, which says what it is: copy that file too, or export again"
        raise ModelError("no_sidecar", message, file=artefact)
    try:
        values = json.loads(read_model_file(path, _LIMIT))
        digests = values.pop("files")
        metadata = Metadata.from_strings({f"cmgan.{key}": json.dumps(value) for key, value in values.items()})
        names = {str(name): str(digest) for name, digest in digests.items()}
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ModelError("sidecar", "is no metadata file of cmgan's; export again", file=path) from error
    except ModelError as error:
        error.file = path
        raise
    if artefact.name not in names or any(Path(name).name != name for name in names):
        message = f"describes {', '.join(names)}, not {artefact.name}; export again"
        raise ModelError("sidecar", message, file=path)
    return metadata, {name: _same(artefact.with_name(name), digest) for name, digest in names.items()}


def files_of(artefact: Path) -> list[Path]:
    """The files that an artefact consists of, without its sidecar."""
    if sidecar_of(artefact).exists():
        return [artefact.with_name(name) for name in read_sidecar(artefact)[1]]
    weights = artefact.with_name(f"{artefact.name}.data")  # of an ONNX file beyond the limit of one message
    return [artefact, weights] if weights.exists() else [artefact]


def _same(path: Path, digest: str) -> bytes:
    data = read_model_file(path, _LARGEST)
    if sha256(data) != digest:
        message = f"is not the file that was exported (SHA-256 {sha256(data)[:12]}, not {digest[:12]}); export again"
        raise ModelError("changed", message, file=path)
    return data
