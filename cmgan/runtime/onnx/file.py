"""The gate in front of every ONNX file: what it must be before any library parses, converts or runs it.

The file is read once, into memory, external data included: replacing or shortening it later has no effect.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from cmgan.errors import ModelError, about, needs
from cmgan.files import read_model_file, refuse_wrong_kind

if TYPE_CHECKING:
    import onnx
    from google.protobuf.message import Message

ONNX_LIMIT = 2**31 - 1  # bytes of one protobuf message, so of one file without its external data
EXTERNAL_LIMIT = 2**32  # bytes of all external tensors together
NODE_LIMIT = 100_000
_PACKED_BITS = {"UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2}  # several values in a byte
STANDARD_DOMAINS = ("", "ai.onnx")


def load_onnx(path: Path, limit: int = ONNX_LIMIT) -> onnx.ModelProto:
    """The model in an ONNX file of at most `limit` bytes, with its external data loaded.

    Raises:
        ModelError: the file is no whole ONNX model, newer than the installed onnx, over a limit, or names external
            data that is not a plain file beside it.
        MissingError: the package onnx is not installed.
    """
    with about(path):
        data = read_model_file(path, limit)
        refuse_wrong_kind(data, path)
        model = _parsed(data)
        _check_text(model)
        _check_inline_sizes(model)
        _check_versions(model)
        nodes = sum(1 for _ in all_nodes(model))
        if nodes > NODE_LIMIT:
            raise ModelError("too_many_nodes", f"{nodes} nodes; the limit is {NODE_LIMIT}")
        _load_external_data(model, path.parent)
    return model


def check_own_graph(model: onnx.ModelProto) -> None:
    """Refuse what cmgan never exports: operators outside ONNX's own, local functions, subgraphs.

    Raises:
        ModelError: naming the operator, function or node.
    """
    if model.functions:
        raise ModelError("onnx_function", f"has the local function {model.functions[0].name!r}; cmgan exports none")
    for node in model.graph.node:
        if node.domain not in STANDARD_DOMAINS:
            message = f"has the operator {node.domain}.{node.op_type}; cmgan exports standard operators only"
            raise ModelError("foreign_operator", message)
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            message = f"the node {node.name!r} ({node.op_type}) has a subgraph; cmgan exports none"
            raise ModelError("onnx_subgraph", message)


def check_foreign_graph(model: onnx.ModelProto) -> None:
    """Refuse, as `ModelError`, what ONNX Runtime would load native code or other files for."""
    local = {function.domain for function in model.functions}
    for node in all_nodes(model):
        if node.op_type == "EPContext" or node.domain not in (*STANDARD_DOMAINS, "com.microsoft", *local):
            message = f"has the operator {node.domain}.{node.op_type}; only those of ONNX and ONNX Runtime are run"
            raise ModelError("foreign_operator", message)


def all_messages(root: Message) -> Iterator[Message]:
    """`root` and every message inside it, at any depth: graphs, nodes, tensors, wherever the format allows them."""
    pending = [root]
    while pending:
        message = pending.pop()
        yield message
        for field, value in message.ListFields():
            if field.message_type is not None:
                pending.extend([value] if hasattr(value, "ListFields") else value)


def all_nodes(root: Message) -> Iterator[onnx.NodeProto]:
    """The nodes among `all_messages` of `root`, in no particular order."""
    import onnx

    return (message for message in all_messages(root) if isinstance(message, onnx.NodeProto))


def names_used(node: onnx.NodeProto) -> Iterator[str]:
    """The tensors that `node` reads, and those that graphs inside it read or give back."""
    import onnx

    for message in all_messages(node):
        if isinstance(message, onnx.NodeProto):
            yield from message.input
        elif isinstance(message, onnx.ValueInfoProto):
            yield message.name


def _parsed(data: bytes) -> onnx.ModelProto:
    with needs("reading an ONNX file", "cmgan[cpu]"):
        import onnx
        from google.protobuf.message import DecodeError
    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError:
        message = f"is not an ONNX file, or only the first part of one ({len(data)} bytes); get the file again"
        raise ModelError("not_onnx", message) from None
    if not model.ir_version or not model.opset_import or not model.graph.output:
        raise ModelError("not_onnx", "is not a whole ONNX model: without version, operator set or outputs")
    return model


def _check_text(model: onnx.ModelProto) -> None:
    """Refuse strings that are not UTF-8, which protobuf hands out as bytes."""
    for message in all_messages(model):
        for field, value in message.ListFields():
            if field.type == field.TYPE_STRING and any(isinstance(item, bytes) for item in (value, *value)):
                raise ModelError("not_onnx", f"has a {field.name} that is not UTF-8 text; get the file again")


def _check_inline_sizes(model: onnx.ModelProto) -> None:
    """Refuse tensors in the file that claim more elements than their bytes can hold, at four to a byte."""
    import onnx

    for tensor in all_messages(model):
        if isinstance(tensor, onnx.TensorProto) and tensor.data_location != onnx.TensorProto.EXTERNAL:
            elements = math.prod(tensor.dims)
            if any(size < 0 for size in tensor.dims) or elements > 4 * tensor.ByteSize():
                shape = "x".join(map(str, tensor.dims))
                message = f"the tensor {tensor.name!r} claims the shape {shape} in {tensor.ByteSize()} bytes"
                raise ModelError("bad_graph", message)


def _check_versions(model: onnx.ModelProto) -> None:
    import onnx

    known_opset = onnx.defs.onnx_opset_version()
    opset = max((entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS), default=0)
    if model.ir_version > onnx.IR_VERSION or opset > known_opset:
        known = f"onnx {onnx.__version__} here knows them up to {onnx.IR_VERSION} and {known_opset}; upgrade onnx"
        raise ModelError("onnx_too_new", f"has IR version {model.ir_version} and operator set {opset}; {known}")


def _load_external_data(model: onnx.ModelProto, folder: Path) -> None:
    """Put the bytes of every external tensor into the tensor itself."""
    import onnx

    total = 0
    files: dict[str, int] = {}
    with ExitStack() as opened:
        for tensor in all_messages(model):
            if not isinstance(tensor, onnx.TensorProto) or tensor.data_location != onnx.TensorProto.EXTERNAL:
                continue
            entries = {entry.key: entry.value for entry in tensor.external_data}
            name, expected = entries.get("location", ""), _byte_count(tensor)
            total += expected
            if total > EXTERNAL_LIMIT:
                raise _refused(tensor, f"brings the external data over the limit of {EXTERNAL_LIMIT} bytes")
            if name not in files:
                files[name] = _opened(tensor, folder, name)
                opened.callback(os.close, files[name])
            offset, length = _whole(tensor, entries, "offset", 0), _whole(tensor, entries, "length", expected)
            size = os.fstat(files[name]).st_size
            if length != expected or offset + length > size:
                wanted = f"{length} bytes at offset {offset} for a tensor of {expected} bytes"
                raise _refused(tensor, f"wants {wanted}; {name!r} has {size} bytes")
            tensor.raw_data = _read(tensor, files[name], offset, length)
            tensor.ClearField("data_location")
            del tensor.external_data[:]


def _opened(tensor: onnx.TensorProto, folder: Path, name: str) -> int:
    """A descriptor of the file `name` in `folder`, which must be a plain file there and nowhere else."""
    if name in ("", ".", "..") or any(character in name for character in "/\\\0"):
        raise _refused(tensor, f"lies in {name!r}; it must be a bare file name in the same folder")
    try:
        handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        reason = f"{name!r}, which cannot be opened ({error.strerror}); it must be a plain file, not a link"
        raise _refused(tensor, f"lies in {reason}: copy both files with cp -L") from None
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(handle)
        reason = f"which is not a plain file with one name ({status.st_nlink} links): copy both files with cp -L"
        raise _refused(tensor, f"lies in {name!r}, {reason}")
    return handle


def _byte_count(tensor: onnx.TensorProto) -> int:
    """The bytes of the tensor's shape and type."""
    import onnx

    if tensor.data_type in (onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING) or any(n < 0 for n in tensor.dims):
        raise _refused(tensor, "has a shape or type that external data cannot have")
    try:
        name = onnx.TensorProto.DataType.Name(tensor.data_type)
        itemsize = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, ValueError):
        raise _refused(tensor, f"has the unknown element type {tensor.data_type}") from None
    bits = _PACKED_BITS.get(name, 8 * itemsize)
    return (math.prod(tensor.dims) * bits + 7) // 8


def _whole(tensor: onnx.TensorProto, entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise _refused(tensor, f"has the {key} {text!r}; it must be a whole number of bytes, 0 or more")
    return int(text)


def _read(tensor: onnx.TensorProto, handle: int, offset: int, length: int) -> bytes:
    parts = []
    while length:
        part = os.pread(handle, min(length, 2**30), offset)
        if not part:
            raise _refused(tensor, "lies in a file that became shorter while it was read")
        parts.append(part)
        offset, length = offset + len(part), length - len(part)
    return b"".join(parts)


def _refused(tensor: onnx.TensorProto, reason: str) -> ModelError:
    return ModelError("external_data", f"the external tensor {tensor.name!r} {reason}")
