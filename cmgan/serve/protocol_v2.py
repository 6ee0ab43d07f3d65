"""The tensors of the Open Inference Protocol, version 2: JSON, and its binary extension.

https://github.com/kserve/open-inference-protocol, with the binary tensor data extension of Triton Inference Server.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from cmgan.runtime.engine import EngineInfo
from cmgan.serve.body import parse_json
from cmgan.serve.refusals import HttpRefusal

MODEL, OUTPUT = "cmgan", "output"
LENGTH = "inference-header-content-length"
_MAX_NUMBERS = 50_000_000  # in one tensor
_DTYPES: dict[str, np.dtype[Any]] = {"UINT8": np.dtype(np.uint8), "FP32": np.dtype("<f4")}


def metadata(info: EngineInfo) -> dict[str, Any]:
    """What `GET /v2/models/cmgan` says. The batch is open: -1."""
    tensors = [{"name": name, "datatype": kind, "shape": [-1, *shape]} for name, kind, shape in _inputs(info)]
    output = {"name": OUTPUT, "datatype": "UINT8", "shape": [-1, info.resolution, info.resolution, 3]}
    return {
        "name": MODEL,
        "versions": ["1"],
        "platform": f"cmgan_{info.format}",
        "inputs": tensors,
        "outputs": [output],
    }


def _inputs(info: EngineInfo) -> list[tuple[str, str, list[int]]]:
    side = info.resolution
    return [("image", "UINT8", [side, side, 3]), ("mask", "UINT8", [side, side]), ("z", "FP32", [info.z_dim])]


class InferRequest:
    """A parsed request.

    Attributes:
        arrays: image uint8 (N, R, R, 3), mask uint8 (N, R, R), z float32 (N, z_dim).
        binary: whether the answer's tensor travels as bytes.
        id: of the request, or None.
    """

    def __init__(self, body: bytes, header: str | None, info: EngineInfo, batch_max: int) -> None:
        """
        Args:
            header: the value of Inference-Header-Content-Length.

        Raises:
            HttpRefusal: inference_header, json, tensor, outputs; all 400.
        """
        document, tail = _split(body, header)
        self.id = document.get("id") if isinstance(document.get("id"), str) else None
        self.binary = _wants_binary(document)
        given = _by_name(document.get("inputs"))
        wanted = _inputs(info)
        if set(given) != {name for name, _, _ in wanted}:
            names = ", ".join(sorted(given))[:80]
            raise _bad(f"inputs are {names or 'missing'}; image, mask and z are needed, each once")
        self.arrays, used = {}, 0
        sizes = {}
        for name, tensor in given.items():  # in the order in which their bytes follow each other
            kind, shape = next((kind, shape) for known, kind, shape in wanted if known == name)
            sizes[name] = dimensions = _shape(name, tensor, kind, shape, batch_max)
            length = _binary_size(name, tensor)
            data = tail[used : used + length] if length is not None else None
            used += length or 0
            self.arrays[name] = _array(name, tensor, _DTYPES[kind], dimensions, data)
        if used != len(tail):
            raise _bad(f"{len(tail)} bytes of tensors follow the header; {used} are announced", "inference_header")
        if len({dimensions[0] for dimensions in sizes.values()}) != 1:
            raise _bad(f"the batch sizes differ: {', '.join(f'{name} {sizes[name][0]}' for name in sizes)}")


def encode(request: InferRequest, output: np.ndarray) -> tuple[bytes, dict[str, str]]:
    """The body of the answer, and its headers."""
    tensor: dict[str, Any] = {"name": OUTPUT, "datatype": "UINT8", "shape": list(output.shape)}
    document: dict[str, Any] = {"model_name": MODEL, "model_version": "1", "outputs": [tensor]}
    if request.id is not None:
        document["id"] = request.id
    if not request.binary:
        tensor["data"] = output.ravel().tolist()
        return json.dumps(document, separators=(",", ":")).encode(), {"Content-Type": "application/json"}
    tensor["parameters"] = {"binary_data_size": output.nbytes}
    head = json.dumps(document, separators=(",", ":")).encode()
    headers = {"Content-Type": "application/octet-stream", LENGTH.title(): str(len(head))}
    return head + output.tobytes(), headers


def _split(body: bytes, header: str | None) -> tuple[dict[str, Any], memoryview]:
    if header is None:
        return parse_json(body), memoryview(b"")
    if not (header.isascii() and header.isdigit() and len(header) < 12 and int(header) <= len(body)):
        message = f"Inference-Header-Content-Length {header[:20]!r}; the body has {len(body)} bytes"
        raise _bad(message, "inference_header")
    return parse_json(body[: int(header)]), memoryview(body)[int(header) :]


def _wants_binary(document: dict[str, Any]) -> bool:
    parameters = document.get("parameters")
    binary = parameters.get("binary_data_output", False) if isinstance(parameters, dict) else False
    outputs = document.get("outputs", [{"name": OUTPUT}])
    if not isinstance(outputs, list) or len(outputs) != 1 or not isinstance(outputs[0], dict):
        raise _bad(f"one output can be requested, {OUTPUT}", "outputs")
    if outputs[0].get("name") != OUTPUT:
        raise _bad(f"unknown output {str(outputs[0].get('name'))[:40]!r}; it is called {OUTPUT}", "outputs")
    parameters = outputs[0].get("parameters", {})
    return bool(parameters.get("binary_data", binary)) if isinstance(parameters, dict) else bool(binary)


def _by_name(inputs: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(inputs, list) or not all(isinstance(i, dict) and isinstance(i.get("name"), str) for i in inputs):
        raise _bad("inputs must be a list of tensors, each with a name")
    if len({tensor["name"] for tensor in inputs}) != len(inputs):
        raise _bad("an input is there twice")
    return {tensor["name"]: tensor for tensor in inputs}


def _shape(name: str, tensor: dict[str, Any], kind: str, shape: list[int], batch_max: int) -> list[int]:
    if tensor.get("datatype") != kind:
        raise _bad(f"{name}: datatype {str(tensor.get('datatype'))[:20]!r}; {kind} is needed")
    seen: Any = tensor.get("shape")
    whole = isinstance(seen, list) and all(type(size) is int for size in seen)
    if not whole or seen[1:] != shape or not 1 <= seen[0] <= batch_max or math.prod(seen) > _MAX_NUMBERS:
        needed = ", ".join(["N", *map(str, shape)])
        raise _bad(f"{name}: shape {str(seen)[:60]}; [{needed}] is needed, N from 1 to {batch_max}")
    return list(seen)


def _binary_size(name: str, tensor: dict[str, Any]) -> int | None:
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None and (type(size) is not int or size < 0 or "data" in tensor):
        raise _bad(f"{name}: either data or a binary_data_size of at least 0")
    return size


def _array(name: str, tensor: dict[str, Any], dtype: np.dtype[Any], shape: list[int], data: Any) -> np.ndarray:
    if data is not None:
        if len(data) != math.prod(shape) * dtype.itemsize:
            raise _bad(f"{name}: {len(data)} bytes; {math.prod(shape) * dtype.itemsize} are needed")
        array = np.frombuffer(data, dtype).reshape(shape)
    else:
        array = _from_numbers(name, tensor.get("data"), dtype, shape)
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise _bad(f"{name}: a number is not finite")
    return array


def _from_numbers(name: str, numbers: Any, dtype: np.dtype[Any], shape: list[int]) -> np.ndarray:
    """An array of a flat or nested list."""
    try:
        seen = np.asarray(numbers)
    except ValueError:
        seen = np.asarray(None)
    kinds = "iu" if dtype.kind == "u" else "iuf"
    if not isinstance(numbers, list) or seen.dtype.kind not in kinds or seen.size != math.prod(shape):
        raise _bad(f"{name}: data must be {math.prod(shape)} numbers of {dtype}; {seen.size} of {seen.dtype} came")
    if dtype.kind == "u" and (seen.min() < 0 or seen.max() > 255):
        raise _bad(f"{name}: a number is not within 0 and 255")
    with np.errstate(over="ignore"):  # seen as infinite, which is refused
        return seen.astype(dtype).reshape(shape)


def _bad(message: str, slug: str = "tensor") -> HttpRefusal:
    return HttpRefusal(400, slug, message)
