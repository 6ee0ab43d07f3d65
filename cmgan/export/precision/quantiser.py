"""int8 graphs: ONNX Runtime's static quantisation (Q and DQ nodes, which OpenVINO reads too), and what it is given."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx

from cmgan.errors import needs, warn
from cmgan.export.gate.cases import stacked
from cmgan.export.precision.calibration import CalibrationSet
from cmgan.export.precision.half import matching_nodes
from cmgan.export.remarks import quiet
from cmgan.export.static_values import StaticValues
from cmgan.export.trace import pipeline_of
from cmgan.files import cache_folder, sha256, write_atomically
from cmgan.runtime.file_engine import Arrays, graph_inputs

# Convolutions that stay in float, by their names. What is no convolution (the codes and styles, the Fourier products,
# to-RGB) always does; so do the depthwise low-pass filters.
KEPT_HIGH = (
    r"^encoder\.stem/",  # the first layer, which sees the picture itself
    r"\.(enter|spectral|leave)/",  # the Fourier units: one large zero frequency spoils the scale of all others
    r"\.attention",  # small, in front of a softmax
    r"^cascades\.{last}\.spatial_block\.second/",  # the last layer
)
_GROUP = re.compile(r"encoder\.blocks\.\d+|cascades\.\d+\.(global|spatial)_block")


@dataclass(frozen=True)
class Quantiser:
    """Makes int8 graphs of one fp32 graph of `cmgan.export.trace`.

    `keep_fp32` are regular expressions as in `cmgan.export.precision.half.in_half`. With `outputs` the convolutions'
    results are quantised too, without which ONNX Runtime does not run them in int8.
    """

    model: onnx.ModelProto
    data: CalibrationSet
    keep_fp32: tuple[str, ...] = ()
    outputs: bool = True

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """The convolutions that may become int8, by the block they stand in.

        Raises:
            UsageError: an expression of `keep_fp32` matches nothing.
        """
        last = max(
            int(name) for name in re.findall(r"cascades\.(\d+)", " ".join(n.name for n in self.model.graph.node))
        )
        high = re.compile("|".join(KEPT_HIGH).replace("{last}", str(last)))
        kept = matching_nodes(self.model, self.keep_fp32)
        kernels = {tensor.name: tensor.dims[-1] for tensor in self.model.graph.initializer if len(tensor.dims) == 4}
        groups: dict[str, list[str]] = {}
        for node in self.model.graph.node:
            block = _GROUP.match(node.name)
            if block and node.op_type == "Conv" and node.name not in kept and not high.search(node.name):
                # 1x1: the scale and shift maps, which are products in other forms of the graph.
                if _attribute(node, "group") == 1 and kernels[node.input[1]] > 1:
                    groups.setdefault(block.group(), []).append(node.name)
        return groups

    @cached_property
    def shares(self) -> dict[str, float]:
        """The share of all convolutions' multiplications that each group has."""
        static = StaticValues(self.model)
        weights = {tensor.name: tensor for tensor in self.model.graph.initializer}
        work = {}
        for node in self.model.graph.node:
            if node.op_type == "Conv":
                positions = np.prod([size or 1 for size in (static.shape(node.output[0]) or [])[2:]])
                work[node.name] = float(positions * np.prod(weights[node.input[1]].dims))
        return {group: sum(work[name] for name in names) / sum(work.values()) for group, names in self.groups.items()}

    def quantised(self, groups: list[str]) -> onnx.ModelProto:
        """The graph with those groups in int8: weights by channel, symmetric; activations by tensor, asymmetric.

        The ranges are measured once and kept in the cache folder, by the digests of the graph and of the data.

        Raises:
            MissingError: onnxruntime is missing.
        """
        if not groups:
            return self.model
        with needs("int8", "cmgan[cpu,export]"):
            from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        with tempfile.TemporaryDirectory(prefix="cmgan-int8-") as folder:
            source, target, ranges = (Path(folder, name) for name in ("fp32.onnx", "int8.onnx", "ranges.json"))
            onnx.save(self.model, source)
            known = self._read_ranges(ranges)
            with quiet(""):  # the quantiser logs, to the root, advice to fold what has been folded
                quantize_static(
                    source,
                    target,
                    None if known else _Reader(self.model, self.data),
                    QuantFormat.QDQ,
                    ["Conv"],
                    per_channel=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    nodes_to_quantize=[name for group in groups for name in self.groups[group]],
                    extra_options={
                        "OpTypesToExcludeOutputQuantization": [] if self.outputs else ["Conv"],
                        "QDQKeepRemovableActivations": True,
                    },
                    calibration_cache_path=ranges,
                )
            if not known:
                self._ranges_file.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(self._ranges_file, ranges.read_bytes())
            model = onnx.load(target)
        del model.metadata_props[:]
        model.producer_name, model.producer_version = "cmgan", ""
        return model

    @cached_property
    def _ranges_file(self) -> Path:
        digest = sha256(self.model.SerializeToString(deterministic=True) + self.data.digest.encode())
        return cache_folder() / "calibration" / f"{digest}.json"

    def _read_ranges(self, target: Path) -> bool:
        """Copy the ranges that are known already; a file that is none of ONNX Runtime's is measured anew."""
        from onnxruntime.quantization.calibrate import load_tensors_data

        if not self._ranges_file.is_file():
            return False
        target.write_bytes(self._ranges_file.read_bytes())
        try:
            load_tensors_data(target)
        except (ValueError, KeyError, TypeError, AttributeError):
            warn("calibration_cache", f"{self._ranges_file} is damaged; measuring again")
            target.unlink()
            return False
        return True


class _Reader:
    """The samples, one at a time, as `onnxruntime.quantization.CalibrationDataReader` has them."""

    def __init__(self, model: onnx.ModelProto, data: CalibrationSet) -> None:
        pipeline = pipeline_of(model)
        self._inputs: Iterator[Arrays] = (graph_inputs(pipeline, *stacked([case])) for case in data.samples)

    def get_next(self) -> Arrays | None:
        return next(self._inputs, None)


def _attribute(node: onnx.NodeProto, name: str) -> int:
    return next((item.i for item in node.attribute if item.name == name), 1)
