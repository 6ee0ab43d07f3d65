"""Checkpoints: folders `step-00001234` that are whole or do not exist, hold tensors and JSON only, and prove it.

Each has `model.safetensors`, `optimiser.safetensors`, `state.json` and, written last, `MANIFEST.json` with the size
and SHA-256 of the others. No pointer says which is the latest: it is the highest step whose files are those of its
manifest.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch

from cmgan.errors import ModelError, NumbersError, warn
from cmgan.files import atomic_folder, read_model_file, sha256
from cmgan.train.networks import Tensors

SCHEMA = 1
MANIFEST = "MANIFEST.json"
_NAME = re.compile(r"step-(\d{8})")
_FILES = ("model.safetensors", "optimiser.safetensors", "state.json")
_LARGEST_FILE = 2**36  # bytes
_JSON_LIMIT = 2**22  # bytes


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on: the tensors of its networks, and the rest as JSON values."""

    model: Tensors
    optimiser: Tensors
    state: dict[str, Any]  # `step` and what else the loop keeps


def save_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write `folder/step-N`, read it back, then remove all but the newest `keep`; the path of the new one.

    Raises:
        NumbersError: a tensor is not finite; nothing is written.
        SystemRefusal: it cannot be written; what was there is as it was.
    """
    for name, tensor in {**checkpoint.model, **checkpoint.optimiser}.items():
        if not tensor.isfinite().all():
            raise NumbersError("weights_non_finite", f"{name} is not finite; no checkpoint is written of it")
    target = folder / f"step-{checkpoint.state['step']:08}"
    with atomic_folder(target, overwrite=True) as temporary:
        contents = (_safe(checkpoint.model), _safe(checkpoint.optimiser), _json(checkpoint.state))
        files = {}
        for name, data in zip(_FILES, contents, strict=True):
            (temporary / name).write_bytes(data)
            files[name] = {"size": len(data), "sha256": sha256(data)}
        (temporary / MANIFEST).write_bytes(_json({"cmgan.schema": SCHEMA, "files": files}))
    _verified(target)
    for old in _steps(folder)[keep:]:
        shutil.rmtree(old)
    return target


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest sound checkpoint, None where there is none at all; a damaged one is passed over with a warning.

    Raises:
        ModelError: all are damaged, or they are of a newer cmgan.
    """
    found = _steps(folder)
    for path in found:
        try:
            return _loaded(path)
        except ModelError as error:
            if error.slug == "schema":
                raise
            warn("checkpoint", f"{error}; the one before it is used")
    if found:
        raise ModelError("checkpoint", f"all {len(found)} checkpoints are damaged; start a new run", file=folder)
    return None


def _steps(folder: Path) -> list[Path]:
    """The checkpoint folders, newest first."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), reverse=True)


def _loaded(path: Path) -> Checkpoint:
    files = _verified(path)
    try:
        model, optimiser = (safetensors.torch.load(files[name]) for name in _FILES[:2])
        state = json.loads(files["state.json"])
    except (ValueError, safetensors.SafetensorError) as error:
        raise ModelError("checkpoint", "holds no checkpoint though its digests are right", file=path) from error
    if path.name != f"step-{state['step']:08}":
        raise ModelError("checkpoint", f"holds step {state['step']}; it was renamed", file=path)
    return Checkpoint(model, optimiser, state)


def _verified(path: Path) -> dict[str, bytes]:
    """The files of a checkpoint, which are those of its manifest, no more and no fewer."""
    try:
        manifest = json.loads(read_model_file(path / MANIFEST, _JSON_LIMIT))
        schema, entries = manifest["cmgan.schema"], manifest["files"]
        wanted = {name: (entries[name]["size"], entries[name]["sha256"]) for name in _FILES}
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError("checkpoint", "is damaged", file=path / MANIFEST) from error
    if schema != SCHEMA:
        raise ModelError("schema", f"has schema {schema}; this cmgan reads {SCHEMA}: upgrade cmgan", file=path)
    if extra := {file.name for file in path.iterdir()} - {*_FILES, MANIFEST}:
        raise ModelError("checkpoint", f"holds a file that is not its own: {min(extra)}", file=path)
    contents = {name: read_model_file(path / name, _LARGEST_FILE) for name in _FILES}
    for name, data in contents.items():
        if (len(data), sha256(data)) != wanted[name]:
            raise ModelError("checkpoint", "is not the file that was saved: its digest differs", file=path / name)
    return contents


def _safe(tensors: Tensors) -> bytes:
    return safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})


def _json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=1) + "\n").encode()
