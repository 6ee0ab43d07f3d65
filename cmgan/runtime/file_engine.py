"""What all engines that run artefacts have in common."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from cmgan.runtime.engine import check_inputs, refuse_non_finite
from cmgan.runtime.metadata import Metadata
from cmgan.runtime.signatures import Signature

Arrays = dict[str, np.ndarray]


class FileEngine:
    """An engine over an artefact, pipeline or core graph; its children know how to run it.

    A child reads the metadata, makes its runtime ready and implements `_run` and `_release`.
    """

    _closed = False

    def __init__(self, metadata: Metadata, signature: Signature | None = None, **details: Any) -> None:
        """`signature` is that of a foreign graph; else it is a pipeline or core graph of cmgan's."""
        self.metadata = metadata
        self.signature = signature
        self.info = metadata.engine_info(**details)

    def __call__(self, image: np.ndarray, mask: np.ndarray, z: np.ndarray) -> np.ndarray:
        """See `cmgan.runtime.engine.Engine`."""
        output = self.output(image, mask, z)
        if self.signature is None or output.dtype != np.uint8:  # foreign bytes have no way to say it
            refuse_non_finite(image, output)
        if self.signature:
            return self.signature.picture(output, image, mask)
        if self.metadata.pipeline == "full":
            return output
        painted = np.rint((output.clip(-1, 1) + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)
        return np.where((mask >= 128)[..., None], painted, image)

    def output(self, image: np.ndarray, mask: np.ndarray, z: np.ndarray) -> np.ndarray:
        """What the graph gives for the arguments of a call: the picture, or of a core graph the raw RGB, float32
        (N, 3, R, R); of a foreign one its own output."""
        if self._closed:
            raise RuntimeError("the engine is closed; open it again")
        check_inputs(self.info, image, mask, z)
        if self.signature:
            return self._run(self.signature.feeds(image, mask))
        return self._run(graph_inputs(self.metadata.pipeline, image, mask, z))

    def close(self) -> None:
        """See `cmgan.runtime.engine.Engine`."""
        if not self._closed:
            self._closed = True
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _run(self, inputs: Arrays) -> np.ndarray:
        """The graph's `output` for inputs named `image`, `mask` and `z`."""
        raise NotImplementedError

    def _release(self) -> None:
        """Let go of what the runtime holds."""
        raise NotImplementedError


def graph_inputs(pipeline: str, image: np.ndarray, mask: np.ndarray, z: np.ndarray) -> Arrays:
    """The arguments of an engine's call as inputs of a pipeline graph (full) or a core graph."""
    if pipeline == "full":
        return {"image": image, "mask": mask, "z": z}
    levels = np.ascontiguousarray(image.transpose(0, 3, 1, 2)).astype(np.float32)
    return {"image": levels / 127.5 - 1, "mask": (mask[:, None] >= 128).astype(np.float32), "z": z}


def signature_of(metadata: Metadata) -> Signature | None:
    """That of the foreign graph which an artefact was built from; None for a graph of cmgan's."""
    facts = metadata.details.get("signature")
    return Signature.of_facts(facts) if facts else None
