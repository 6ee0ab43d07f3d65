"""A lowered file is loaded and run once before it has a name: nothing else proves that what it declares fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from cmgan.errors import CmganError, ModelError
from cmgan.export.static_values import FLOAT_TYPES
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.onnx.engine import session

_FREE = 64  # the size that a free axis gets; the first, which is mostly the batch, gets 1

Feeds = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Trial:
    """What became of it: `shapes` of the inputs it ran on, or why it could not be run."""

    shapes: dict[str, list[int]]
    problem: str = ""


def try_once(original: onnx.ModelProto, lowered: onnx.ModelProto) -> Trial:
    """Run `lowered` once in ONNX Runtime on random inputs.

    Raises:
        ModelError: `original` runs and `lowered` does not.
    """
    feeds = random_feeds(lowered)
    shapes = {name: list(array.shape) for name, array in feeds.items()}
    problem = _problem(lowered, feeds)
    if problem and not _problem(original, random_feeds(original)):
        raise ModelError("lowered_refused", f"runs before lowering and not after it ({problem}); please report this")
    return Trial(shapes, problem)


def random_feeds(model: onnx.ModelProto) -> Feeds:
    """Inputs for every input without a default: floats uniform in [0, 1), whole numbers 0 or 1."""
    generator = np.random.default_rng(0)
    initializers = {tensor.name for tensor in model.graph.initializer}
    feeds: Feeds = {}
    for value in model.graph.input:
        if value.name in initializers:
            continue
        kind = value.type.tensor_type
        shape = [
            size.dim_value if size.HasField("dim_value") else 1 if axis == 0 else _FREE
            for axis, size in enumerate(kind.shape.dim)
        ]
        top = 1 if kind.elem_type in FLOAT_TYPES else 2
        feeds[value.name] = (top * generator.random(shape)).astype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return feeds


def _problem(model: onnx.ModelProto, feeds: Feeds) -> str:
    """Why it does not run; nothing where it does."""
    try:
        session(model, EngineOptions()).run(None, feeds)
    except CmganError as error:
        return error.message.removesuffix("; export it again")
    except Exception as error:  # noqa: BLE001 - onnxruntime raises classes of its own, without a common base
        return " ".join(str(error).split())[:160]
    return ""
