"""The PyTorch model behind the engine protocol: what every artefact is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cmgan.errors import MissingError
from cmgan.model.generator import Generator
from cmgan.model.pipeline import Pipeline
from cmgan.model.weights import resolve
from cmgan.runtime.engine import EngineInfo, EngineOptions, check_inputs


@dataclass(frozen=True)
class EagerOptions:
    """How PyTorch runs: `precision` bf16 is autocast; `compiled` goes through torch.compile."""

    device: str = "cpu"
    precision: str = "fp32"
    channels_last: bool = False
    compiled: bool = False


class EagerEngine:
    """An engine over a generator in memory."""

    def __init__(
        self, generator: Generator, *, trained: bool, weights_sha256: str, options: EagerOptions | None = None
    ) -> None:
        options = options or EagerOptions()
        try:
            self._device = torch.device(options.device)
            generator = generator.to(self._device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            message = f"device {options.device!r} cannot be used here ({reason}); --device cpu always can"
            raise MissingError("device", message) from error
        if options.channels_last:
            generator = generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        pipeline: torch.nn.Module = Pipeline(generator).eval()
        self._run: Any = torch.compile(pipeline, dynamic=False) if options.compiled else pipeline  # None: closed
        self._autocast = options.precision == "bf16"
        self.info = EngineInfo(
            format="eager",
            name=generator.config.name,
            resolution=generator.config.resolution,
            z_dim=generator.config.z_dim,
            precision=options.precision,
            trained=trained,
            weights_sha256=weights_sha256,
            details={"device": options.device, "torch": torch.__version__},
        )

    def __call__(self, image: np.ndarray, mask: np.ndarray, z: np.ndarray) -> np.ndarray:
        """See `cmgan.runtime.engine.Engine`."""
        if self._run is None:
            raise RuntimeError("the engine is closed; open it again")
        check_inputs(self.info, image, mask, z)
        tensors = (torch.from_numpy(np.ascontiguousarray(a)).to(self._device) for a in (image, mask, z))
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
            return np.ascontiguousarray(self._run(*tensors).cpu().numpy())

    def close(self) -> None:
        """See `cmgan.runtime.engine.Engine`."""
        self._run = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def eager_engine(model: str, options: EngineOptions) -> EagerEngine:
    """The engine for a preset or a model folder, and the thread count that was asked for."""
    loaded = resolve(model)
    if options.threads:
        torch.set_num_threads(options.threads)
    running = EagerOptions(device=options.device)
    return EagerEngine(loaded.generator, trained=loaded.trained, weights_sha256=loaded.digest, options=running)
