"""The PyTorch model behind the engine protocol: what every artefact is compared with, and the fast path of a GPU."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from cmgan.config import GeneratorConfig
from cmgan.errors import MissingError, UsageError
from cmgan.kernels import use
from cmgan.model.generator import Generator
from cmgan.model.layers import fold_gains
from cmgan.model.pipeline import Pipeline
from cmgan.model.weights import resolve
from cmgan.runtime.engine import KERNELS, EngineInfo, EngineOptions, check_inputs, refuse_non_finite

# Precisions on a GPU: the type of the weights and maps. tf32 is fp32 whose products keep 10 bits of mantissa.
_DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class EagerOptions:
    """How PyTorch runs.

    `precision` is the type of weights and maps; with `autocast` the weights stay fp32, and PyTorch chooses where bf16
    is used. `compiled` is a mode of torch.compile, none where it is empty. With `graph`, on CUDA, the calls of each
    batch size are captured once and replayed.
    """

    device: str = "cpu"
    precision: str = "fp32"
    autocast: bool = False
    channels_last: bool = False
    compiled: str = ""
    graph: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and maps."""
        return torch.float32 if self.autocast else _DTYPES[self.precision]


class EagerEngine:
    """An engine over a network in memory, float32 (image, mask, z) as `Generator.forward` takes them -> raw RGB."""

    def __init__(
        self,
        network: nn.Module,
        config: GeneratorConfig,
        *,
        trained: bool,
        weights_sha256: str,
        options: EagerOptions | None = None,
    ) -> None:
        """`network` is what `prepared` made for these options."""
        self._options = options = options or EagerOptions()
        self._device = torch.device(options.device)
        pipeline: nn.Module = Pipeline(network).eval()
        if options.compiled:
            pipeline = torch.compile(pipeline, dynamic=False, mode=options.compiled)  # type: ignore[assignment]
        graphs = options.graph and self._device.type == "cuda"
        self._run: Any = _Graphs(pipeline) if graphs else pipeline  # None: closed
        self._lock = threading.Lock()
        self.info = EngineInfo(
            format="eager",
            name=config.name,
            resolution=config.resolution,
            z_dim=config.z_dim,
            precision=options.precision,
            trained=trained,
            weights_sha256=weights_sha256,
            details={"device": options.device, "torch": torch.__version__},
        )

    def __call__(self, image: np.ndarray, mask: np.ndarray, z: np.ndarray) -> np.ndarray:
        """See `cmgan.runtime.engine.Engine`."""
        check_inputs(self.info, image, mask, z)
        with self._running():
            tensors = (torch.from_numpy(np.ascontiguousarray(a)).to(self._device) for a in (image, mask, z))
            output = np.ascontiguousarray(self._run(*tensors).cpu().numpy())
        refuse_non_finite(image, output)
        return output

    def on_device(self, image: Any, mask: Any, z: Any, output: Any) -> None:
        """Read the inputs and write the picture where they lie, by DLPack: arrays of any library, on the engine's
        device, of the types and shapes of a call. What is queued on PyTorch's current stream is done first; the
        picture is written when this returns.

        Raises:
            ValueError: an array lies elsewhere, or is of another type or shape.
        """
        tensors = [torch.utils.dlpack.from_dlpack(a) for a in (image, mask, z, output)]
        side, n = self.info.resolution, len(tensors[0])
        pictures = torch.uint8, (n, side, side, 3)
        wanted = pictures, (torch.uint8, (n, side, side)), (torch.float32, (n, self.info.z_dim)), pictures
        for name, tensor, (dtype, shape) in zip(("image", "mask", "z", "output"), tensors, wanted, strict=True):
            seen = tensor.device.type, tensor.dtype, tuple(tensor.shape)
            if seen != (self._device.type, dtype, shape):
                raise ValueError(
                    f"{name} is (device, type, shape) {seen}; {(self._device.type, dtype, shape)} is needed"
                )
        with self._running():
            tensors[3].copy_(self._run(*tensors[:3]))
            if self._device.type == "cuda":
                torch.cuda.current_stream(self._device).synchronize()

    def close(self) -> None:
        """See `cmgan.runtime.engine.Engine`."""
        with self._lock:
            self._run = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    @contextmanager
    def _running(self) -> Iterator[None]:
        """One call at a time: a captured graph has one set of buffers, and whether TF32 is used is the process's."""
        options = self._options
        with (
            self._lock,
            torch.inference_mode(),
            torch.autocast(self._device.type, torch.bfloat16, enabled=options.autocast),
            _tf32(options.precision == "tf32"),
        ):
            if self._run is None:
                raise RuntimeError("the engine is closed; open it again")
            yield


class First(nn.Module):
    """The raw RGB of a network that gives a tuple, as exported ones do."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, mask: Tensor, z: Tensor) -> Tensor:
        return self.network(image, mask, z)[0]


class _InType(nn.Module):
    """The network in its own type between float32 inputs and output."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network, dtype

    def forward(self, image: Tensor, mask: Tensor, z: Tensor) -> Tensor:
        return self.network(image.to(self.dtype), mask.to(self.dtype), z.to(self.dtype)).float()


class _Graphs:
    """A CUDA graph for every batch size that was called, captured at its first call, with inputs and output that stay
    where they are. The output is overwritten by the next call of that size."""

    def __init__(self, run: Callable[..., Tensor]) -> None:
        self._run = run
        self._captured: dict[int, tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor]] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        n = len(inputs[0])
        if n not in self._captured:
            self._captured[n] = self._capture([x.clone() for x in inputs])
        graph, buffers, output = self._captured[n]
        for buffer, x in zip(buffers, inputs, strict=True):
            buffer.copy_(x)
        graph.replay()
        return output

    def _capture(self, buffers: list[Tensor]) -> tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor]:
        side = torch.cuda.Stream(buffers[0].device)
        side.wait_stream(torch.cuda.current_stream(side.device))
        with torch.cuda.stream(side):
            for _ in range(2):  # kernels are compiled, libraries choose, the allocator is filled
                self._run(*buffers)
        torch.cuda.current_stream(side.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        pool = next((captured[0].pool() for captured in self._captured.values()), None)
        with torch.cuda.graph(graph, pool=pool):
            output = self._run(*buffers)
        return graph, buffers, output


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """PyTorch's own default is TF32 in convolutions and none in products; an engine says what it wants of both."""
    places: tuple[Any, ...] = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [place.allow_tf32 for place in places]
    try:
        for place in places:
            place.allow_tf32 = allowed
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.allow_tf32 = value


def on_device(network: Network, device: str) -> Network:
    """The network there, moved in place; MissingError where there is no such device."""
    try:
        return network.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        message = f"device {device!r} cannot be used here ({reason}); --device cpu always can"
        raise MissingError("device", message) from error


def prepared(generator: Generator, kernels: str, options: EagerOptions) -> nn.Module:
    """What an engine runs of a generator, which it changes: gains in the weights, `kernels` as for
    `cmgan.kernels.use`. Every row that is compared with another starts from here."""
    dtype = options.dtype
    generator = on_device(generator.requires_grad_(False).eval(), options.device)
    fold_gains(generator)
    network = use(generator, kernels, dtype)
    if network is not generator:
        return network
    return in_type(generator, options)


def in_type(network: nn.Module, options: EagerOptions) -> nn.Module:
    """A network of PyTorch's own operations in the type and the memory layout of the options, changed in place."""
    network = network.to(options.dtype)
    if options.channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network if options.dtype == torch.float32 else _InType(network, options.dtype)


def eager_engine(model: str, options: EngineOptions) -> EagerEngine:
    """The engine for a preset or a model folder, and the thread count that was asked for.

    Raises:
        UsageError: a precision that the device does not have, or an unknown one.
        MissingError: kernels are demanded where there are none, or the device is missing.
    """
    precision = options.precision or "fp32"
    on_gpu = options.device != "cpu"
    if precision not in _DTYPES:
        raise UsageError(
            "precision", f"--precision {precision}: {', '.join(_DTYPES)} can be had from a model's weights"
        )
    if precision != "fp32" and not on_gpu:
        message = f"--precision {precision} needs --device cuda; on a CPU, export the model in that precision"
        raise UsageError("precision", message)
    if options.kernels == KERNELS[1] and not on_gpu:
        raise MissingError("cuda", "--kernels triton needs --device cuda; leave it out, or use --kernels reference")
    if on_gpu and not torch.cuda.is_available():
        message = f"device {options.device!r}: PyTorch sees no NVIDIA GPU here; --device cpu always works"
        raise MissingError("device", message)
    loaded = resolve(model)
    if options.threads:
        torch.set_num_threads(options.threads)
    running = EagerOptions(options.device, precision, channels_last=on_gpu, graph=on_gpu)
    network, config = prepared(loaded.generator, options.kernels, running), loaded.generator.config
    return EagerEngine(network, config, trained=loaded.trained, weights_sha256=loaded.digest, options=running)
