"""Models on disk: a folder of safetensors files, their configuration, and a manifest with the digest of every file.

Nothing in a model folder can run code, and nothing in it is believed: sizes are bounded before reading, digests are
taken over the bytes in memory that the tensors are then made from, and names, shapes and values are checked strictly.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.overrides import TorchFunctionMode

from cmgan import __version__
from cmgan.config import PRESETS, GeneratorConfig
from cmgan.errors import ModelError, NumbersError, UsageError, about, logger, shown
from cmgan.files import atomic_folder, read_model_file, read_start, refuse_wrong_kind, sha256
from cmgan.formats import model_in
from cmgan.model.generator import Generator
from cmgan.model.initialise import seeded_generator
from cmgan.weights import bundled

SCHEMA = 1
SHARD_LIMIT = 15_000_000  # bytes of a file, so that any code host takes it; a larger single tensor stands alone
SEEDED_LICENCE = "Apache-2.0"
_ROOM_IN_HEADER = 256  # bytes that a tensor's entry takes in a safetensors header, generously
_JSON_LIMIT = 2**20  # bytes of config.json, of manifest.json and of a safetensors header
_MODEL_LIMIT = 2**32  # bytes of all files of a model
_TENSOR_LIMIT = 10_000
_DTYPES = ("F32", "F16", "BF16")


@dataclass(frozen=True)
class LoadedModel:
    """A generator in evaluation mode, float32, on the CPU, and where it comes from."""

    generator: Generator
    trained: bool
    licence: str
    digest: str  # `weights_digest` of the generator


def resolve(model: str) -> LoadedModel:
    """The model that a user named: one that comes with the package, a preset (seeded, untrained weights), a model
    folder or that of a training run. A folder of such a name is `./NAME`.

    Raises:
        UsageError: it is neither.
        ModelError: it is a file, or the folder is not a sound model.
    """
    if model in PRESETS:
        generator = seeded_generator(PRESETS[model])
        return LoadedModel(generator, False, SEEDED_LICENCE, weights_digest(generator))
    path = bundled().get(model) or model_in(Path(model))
    if path.is_dir():
        return load_generator(path)
    if path.exists():
        refuse_wrong_kind(read_start(path), path)
        message = "is a single file; the folder with config.json, manifest.json and the weights is needed"
        raise ModelError("not_a_model", message, file=path)
    known = ", ".join((*bundled(), *PRESETS))
    raise UsageError("model", f"is no folder and no model's name; known are {known}", file=model)


def weights_digest(generator: Generator) -> str:
    """SHA-256 over name, shape, type and bytes of every tensor of the state, in its order."""
    digest = hashlib.sha256()
    for name, tensor in generator.state_dict().items():
        digest.update(f"{name} {list(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


# -- writing ---------------------------------------------------------------------------------------------------------


def save_generator(
    generator: Generator,
    folder: Path,
    *,
    trained: bool,
    licence: str,
    overwrite: bool = False,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write the model folder, whole or not at all; the weights as `dtype`.

    Raises:
        NumbersError: a weight is not finite.
        UsageError, SystemRefusal: the target cannot be written.
    """
    state = {name: tensor.detach().cpu().to(dtype).contiguous() for name, tensor in generator.state_dict().items()}
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise NumbersError("weights_non_finite", f"the weight {name} is not finite; the model is not saved")
    config = {
        "cmgan.schema": SCHEMA,
        "generator": generator.config.to_dict(),
        "trained": trained,
        "licence": licence,
    }
    shards = list(_shards(state))
    files: dict[str, dict[str, Any]] = {}
    with atomic_folder(folder, overwrite=overwrite) as temporary:

        def write(name: str, data: bytes) -> None:
            (temporary / name).write_bytes(data)
            files[name] = {"size": len(data), "sha256": sha256(data)}

        write("config.json", _json_bytes(config))
        for index, shard in enumerate(shards, 1):
            name = f"model-{index:05}-of-{len(shards):05}.safetensors" if len(shards) > 1 else "model.safetensors"
            write(name, safetensors.torch.save(shard))
        manifest = {"cmgan.schema": SCHEMA, "cmgan.version": __version__, "files": files}
        (temporary / "manifest.json").write_bytes(_json_bytes(manifest))


def _shards(state: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """The tensors in order, in groups of at most `SHARD_LIMIT` bytes of file."""
    shard: dict[str, Tensor] = {}
    filled = 0
    for name, tensor in state.items():
        size = tensor.nbytes + _ROOM_IN_HEADER
        if shard and filled + size > SHARD_LIMIT:
            yield shard
            shard, filled = {}, 0
        shard[name] = tensor
        filled += size
    yield shard


def _json_bytes(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()


# -- reading ---------------------------------------------------------------------------------------------------------


def load_generator(folder: Path) -> LoadedModel:
    """Load a model folder, strictly. float16 and bfloat16 weights become float32.

    Raises:
        ModelError: naming the file, and the tensor where there is one.
    """
    files = _manifest(folder)
    config, trained, licence = _config(folder / "config.json", _verified(folder, "config.json", files))
    with _NothingDrawn():
        generator = Generator(config)
    headers: dict[str, list[int]] = {}
    state: dict[str, Tensor] = {}
    shards = sorted(name for name in files if name.endswith(".safetensors"))
    contents = {name: _verified(folder, name, files) for name in shards}
    for name, data in contents.items():
        header = _header(data, folder / name)
        if doubled := sorted(header.keys() & headers.keys()):
            message = f"the tensor {shown(doubled[0])} stands in another file too"
            raise ModelError("doubled_tensor", message, file=folder / name)
        headers.update(header)
    check_architecture(generator, headers, folder)
    for name in shards:
        state.update(_tensors(contents.pop(name), folder / name))
    generator.load_state_dict(state, assign=True)
    return LoadedModel(generator.eval(), trained, licence, weights_digest(generator))


class _NothingDrawn(TorchFunctionMode):
    """Leaves uninitialised what a constructor would draw, since it is replaced. (The meta device would import sympy,
    which takes longer than loading does.)"""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (torch.empty if func is torch.randn else func)(*args, **(kwargs or {}))


def _manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and digest of every file, from `manifest.json`."""
    path = folder / "manifest.json"
    manifest = _json_object(read_model_file(path, _JSON_LIMIT), path)
    _check_schema(manifest, path)
    files = manifest.get("files")
    if not isinstance(files, dict) or "config.json" not in files or not all(map(_names_a_file, files.items())):
        raise ModelError("manifest", "names no files with their size and sha256; save the model again", file=path)
    total = sum(entry["size"] for entry in files.values())
    if total > _MODEL_LIMIT:
        raise ModelError("model_too_large", f"{total} bytes of files; the limit is {_MODEL_LIMIT}", file=path)
    return files


def _names_a_file(item: tuple[str, Any]) -> bool:
    name, entry = item
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name) or not isinstance(entry, dict):
        return False
    return type(entry.get("size")) is int and type(entry.get("sha256")) is str


def _verified(folder: Path, name: str, files: dict[str, dict[str, Any]]) -> bytes:
    """The bytes of a file of the folder, which have the size and the digest of the manifest."""
    path, entry = folder / name, files[name]
    data = read_model_file(path, _MODEL_LIMIT)
    refuse_wrong_kind(data, path)
    if len(data) != entry["size"]:
        part = "only a part of the file" if len(data) < entry["size"] else "another file"
        message = f"has {len(data)} bytes, {entry['size']} by the manifest: {part}; get it again"
        raise ModelError("size_differs", message, file=path)
    digest = sha256(data)
    if digest != entry["sha256"]:
        message = f"has the digest {digest[:12]}, {entry['sha256'][:12]} by the manifest; get the model again"
        raise ModelError("digest_differs", message, file=path)
    return data


def _config(path: Path, data: bytes) -> tuple[GeneratorConfig, bool, str]:
    values = _json_object(data, path)
    _check_schema(values, path)
    generator, trained, licence = values.get("generator"), values.get("trained"), values.get("licence")
    if not isinstance(generator, dict) or type(trained) is not bool or type(licence) is not str:
        raise ModelError("config", "lacks generator, trained or licence; save the model again", file=path)
    with about(path):
        return GeneratorConfig.from_dict(generator), trained, licence


def _check_schema(values: dict[str, Any], path: Path) -> None:
    schema = values.get("cmgan.schema")
    if type(schema) is not int or schema > SCHEMA:
        known = f"this cmgan {__version__} reads schema {SCHEMA}"
        raise ModelError("schema", f"has cmgan.schema {schema!r}; {known}: upgrade cmgan", file=path)


def _json_object(data: bytes, path: Path) -> dict[str, Any]:
    """A JSON object without doubled keys, at any depth."""
    try:
        values = json.loads(data, object_pairs_hook=_without_doubles)
    except _DoubledKey as error:
        raise ModelError("doubled_key", f"has the key {shown(error.args[0])} twice; save it again", file=path) from None
    except (ValueError, RecursionError):
        raise ModelError("not_json", "is not JSON where it must be; get the file again", file=path) from None
    if not isinstance(values, dict):
        raise ModelError("not_json", "is not a JSON object where it must be; get the file again", file=path)
    return values


class _DoubledKey(Exception):
    pass


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise _DoubledKey(key)
        values[key] = value
    return values


def _header(data: bytes, path: Path) -> dict[str, list[int]]:
    """Name and shape of every tensor of a safetensors file; its offsets are left to the library."""
    length = int.from_bytes(data[:8], "little") if len(data) >= 8 else 0
    if length > _JSON_LIMIT:
        raise ModelError("header_too_large", f"a header of {length} bytes; the limit is {_JSON_LIMIT}", file=path)
    if len(data) < 8 + max(length, 1):
        raise ModelError("cut_off", f"{len(data)} bytes are only a part of the file; get it again", file=path)
    header = _json_object(data[8 : 8 + length], path)
    header.pop("__metadata__", None)
    if len(header) > _TENSOR_LIMIT:
        raise ModelError("too_many_tensors", f"{len(header)} tensors; the limit is {_TENSOR_LIMIT}", file=path)
    shapes = {}
    for name, entry in header.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("shape"), list):
            raise ModelError("damaged", f"the tensor {shown(name)} has no shape; get the file again", file=path)
        if entry.get("dtype") not in _DTYPES:
            wanted = f"{', '.join(_DTYPES)} are accepted"
            message = f"the tensor {shown(name)} has the type {shown(entry.get('dtype'))}; {wanted}"
            raise ModelError("dtype", message, file=path)
        shapes[name] = entry["shape"]
    return shapes


def check_architecture(generator: Generator, shapes: dict[str, list[int]], folder: Path) -> None:
    """Refuse the weights of another network: names, shapes and number of tensors must be the generator's."""
    wanted = {name: list(tensor.shape) for name, tensor in generator.state_dict().items()}
    missing, extra = sorted(wanted.keys() - shapes.keys()), sorted(shapes.keys() - wanted.keys())
    if missing or extra:
        counts = f"{len(missing)} tensors of {shown(generator.config.name)} are missing, {len(extra)} are unknown"
        names = ", ".join(shown(name) for name in (missing + extra)[:3])
        raise ModelError("other_network", f"holds another network: {counts} ({names})", file=folder)
    different = [name for name in wanted if shapes[name] != wanted[name]]
    if different:
        first = f"{different[0]} is {shown(shapes[different[0]])}, {wanted[different[0]]} is needed"
        raise ModelError("other_shape", f"another shape in {len(different)} tensors: {first}", file=folder)


def _tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    """The tensors of a file as float32, all finite."""
    try:
        tensors = safetensors.torch.load(data)
    except SafetensorError:
        message = "is damaged: its table of tensors does not fit its bytes; get the file again"
        raise ModelError("damaged", message, file=path) from None
    check_finite(tensors, path)
    narrow = sorted({str(tensor.dtype) for tensor in tensors.values()} - {"torch.float32"})
    if narrow:
        logger.info("%s: weights stored as %s are used as float32", path.name, ", ".join(narrow))
    return {name: tensor.float() for name, tensor in tensors.items()}


def check_finite(tensors: dict[str, Tensor], path: Path) -> None:
    """Refuse infinities and NaN, as `ModelError` with the name of the tensor."""
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ModelError("weights_non_finite", f"the weight {name} has a value that is not finite", file=path)
