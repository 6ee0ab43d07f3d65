"""Opening engines of TensorRT and TensorRT-RTX: all that is checked before their bytes reach native code.

The bytes here are no engine, so every refusal that comes from the sidecar proves that they were not looked at.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from cmgan.errors import CmganError, MissingError, ModelError
from cmgan.export.gate.cases import parity_cases, stacked
from cmgan.runtime import cuda
from cmgan.runtime.metadata import Metadata
from cmgan.runtime.open import open_engine
from cmgan.runtime.sidecar import sidecar_of, write_sidecar
from cmgan.runtime.tensorrt.engine import Build, check_gpu, kernel_cache, rebuild_command
from cmgan.runtime.tensorrt.library import library, new_log
from cmgan.runtime.tensorrt.session import in_batches

RTX = library("trt-rtx")
BUILD = Build(version=RTX.__version__, targets=("sm_89", "sm_120"), batches=(1, 1, 8), source_sha256="0" * 64)
METADATA = replace(
    Metadata.assumed(64, 64, "full"),
    format="trt-rtx",
    name="tiny-64",
    precision="fp16",
    trained=False,
    details=asdict(BUILD),
)


def _no_gpu() -> bool:
    try:
        cuda.gpu("cuda")
    except MissingError:
        return True
    return False


without_gpu = pytest.mark.skipif(not _no_gpu(), reason="about machines without a GPU")


@pytest.fixture
def engine(tmp_path):
    path = tmp_path / "model_fp16.rtx"
    path.write_bytes(bytes(range(256)))
    write_sidecar(path, METADATA, (path,))
    return path


def _details(path, **values) -> None:
    sidecar = json.loads(sidecar_of(path).read_text())
    sidecar["details"] |= values
    sidecar_of(path).write_text(json.dumps(sidecar))


def _refused(path, kind: type[CmganError]) -> CmganError:
    with pytest.raises(kind) as refusal:
        open_engine(path)
    assert refusal.value.file == path
    return refusal.value


@without_gpu
def test_without_a_gpu_it_says_where_it_runs(engine):
    refusal = _refused(engine, MissingError)
    assert "runs on an NVIDIA GPU of sm_89 or sm_120" in refusal.line()
    assert ".parity.npz" in refusal.line()


def test_another_version_is_refused_with_both_and_the_command(engine):
    _details(engine, version="1.2.0.54")
    refusal = _refused(engine, ModelError)
    assert (refusal.exit_code, refusal.slug) == (4, "engine_incompatible")
    command = "cmgan export --format trt-rtx --model tiny-64 --precision fp16 --target sm_89,sm_120 --batch-max 8"
    for words in ("TensorRT-RTX 1.2.0.54", f"{RTX.__version__} is installed", command):
        assert words in str(refusal)


def test_another_gpu_is_refused_with_both_and_the_command():
    gpu = cuda.Gpu(0, "RTX 3090", "sm_86", "13.0", "13.0")
    with pytest.raises(ModelError, match=r"built for sm_89, sm_120, and RTX 3090 is sm_86") as refusal:
        check_gpu(METADATA, BUILD, gpu)
    assert refusal.value.slug == "engine_incompatible"
    assert "--target sm_86 " in str(refusal.value)
    check_gpu(METADATA, BUILD, replace(gpu, capability="sm_120"))


@pytest.mark.parametrize(
    ("metadata", "command"),
    [
        (METADATA, "--format trt-rtx --model tiny-64 --precision fp16 --target sm_89 --batch-max 8 -o OUT"),
        (replace(METADATA, format="trt"), "--format trt --model tiny-64 --precision fp16 --batch-max 8 -o OUT"),
        (replace(METADATA, trained=True), "--model FOLDER"),
        (replace(METADATA, name="mine"), "--model FOLDER"),
    ],
)
def test_the_command_that_builds_it_again(metadata, command):
    assert command in rebuild_command(metadata, BUILD, ("sm_89",))


def test_every_flipped_byte_is_noticed(engine):
    data = engine.read_bytes()
    for position in range(len(data)):
        engine.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        assert _refused_slug(engine) == "changed"


def _refused_slug(path) -> str:
    with pytest.raises(ModelError) as refusal:
        open_engine(path)
    return refusal.value.slug


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"targets": None}, "without the engine's versions"),
        ({"batches": [1, 2]}, "without the engine's versions"),
        ({"batches": ["a", 1, 2]}, "without the engine's versions"),
        ({"surprise": 1}, "without the engine's versions"),
    ],
)
def test_a_sidecar_that_is_not_an_engines(engine, values, reason):
    _details(engine, **values)
    assert reason in str(_refused(engine, ModelError))


def test_a_sidecar_of_another_format(engine):
    write_sidecar(engine, replace(METADATA, format="onnx"), (engine,))
    assert "is onnx by its metadata" in str(_refused(engine, ModelError))


def test_an_engine_without_its_sidecar(engine):
    sidecar_of(engine).unlink()
    assert _refused(engine, ModelError).slug == "no_sidecar"


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_an_engine_of_a_library_that_is_not_installed(engine):
    path = engine.rename(engine.with_suffix(".engine"))
    write_sidecar(path, replace(METADATA, format="trt"), (path,))
    assert "pip install 'cmgan[trt]'" in str(_refused(path, MissingError))


def test_code_for_the_host_stays_forbidden():
    assert RTX.Runtime(new_log(RTX)).engine_host_code_allowed is False


def test_kernels_are_kept_by_engine_version_and_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("CMGAN_CACHE_DIR", str(tmp_path))
    ada, blackwell = (cuda.Gpu(0, "", capability, "", "") for capability in ("sm_89", "sm_120"))
    variants = [
        kernel_cache("trt-rtx", BUILD, b"plan", ada),
        kernel_cache("trt-rtx", BUILD, b"plan", blackwell),
        kernel_cache("trt-rtx", BUILD, b"another plan", ada),
        kernel_cache("trt-rtx", replace(BUILD, version="2"), b"plan", ada),
    ]
    assert len(set(variants)) == 4
    assert all(path.parent == tmp_path / "trt-rtx" for path in variants)


# -- batches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("least", "largest"), [(1, 1), (1, 4), (2, 3), (4, 4), (8, 16)])
@pytest.mark.parametrize("n", [1, 3, 4, 5, 9])
def test_any_number_of_rows(n, least, largest):
    seen = []

    def run(inputs):
        seen.append(len(inputs["image"]))
        return inputs["image"] * 2 + inputs["z"]

    inputs = {"image": np.arange(2 * n).reshape(n, 2), "z": np.arange(n)[:, None]}
    assert np.array_equal(in_batches(run, inputs, (least, least, largest)), run(inputs))
    assert all(least <= size <= largest for size in seen[:-1])


# -- CUDA ------------------------------------------------------------------------------------------------------------


@without_gpu
@pytest.mark.parametrize(
    "work",
    [
        lambda: cuda.gpu("cuda"),
        lambda: cuda.gpu("cuda:1"),
        lambda: cuda.Tensor(np.dtype(np.uint8), (2, 8)),
        cuda.new_stream,
        lambda: cuda.Graph(lambda: None, 0),
        lambda: cuda.call("cudaHostAlloc", 16, 0),
        lambda: cuda.call("cudaMemcpyAsync", 0, 0, 16, cuda.memcpy_kind("cudaMemcpyHostToDevice"), 0),
        lambda: cuda.call("cudaStreamSynchronize", 0),
        lambda: cuda.call("cudaGraphInstantiate", 0, 0),
        lambda: cuda.call("cudaGraphLaunch", 0, 0),
    ],
)
def test_without_a_gpu_every_call_says_so(work):
    with pytest.raises(MissingError, match="no usable NVIDIA GPU"):
        work()


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "tpu:0"])
def test_devices_that_are_none(device):
    with pytest.raises(MissingError, match="cuda or cuda:N"):
        cuda.gpu(device)


# -- with a GPU ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["trt", "trt-rtx"])
def running(request, tmp_path, monkeypatch, tiny_artefact):
    """An engine of tiny-64 for batches of 1 to 4, built on this GPU, and the folder of its caches."""
    from cmgan.export.artefact import export_model
    from cmgan.export.options import ExportOptions
    from cmgan.export.targets.tensorrt import supported_targets
    from cmgan.model.weights import resolve

    if request.param == "trt":
        pytest.importorskip("tensorrt", reason="needs TensorRT and a CUDA device")
    elif cuda.gpu("cuda").capability not in supported_targets(RTX):
        pytest.skip("TensorRT-RTX does not build for this GPU")
    monkeypatch.setenv("CMGAN_CACHE_DIR", str(tmp_path / "cache"))
    made = export_model(resolve("tiny-64"), tmp_path / "out", ExportOptions(format=request.param, batch_max=4))
    return made.file


@pytest.mark.gpu
def test_an_engine_paints_the_same_every_time_and_on_the_device(running):
    import torch

    engine = open_engine(running)
    image, mask, z = stacked(parity_cases(64, 64))
    painted = engine(image, mask, z)  # six: split into four and two
    assert np.array_equal(engine(image, mask, z), painted)
    assert np.array_equal(open_engine(running)(image, mask, z), painted), "kernels from the cache"
    known = mask < 128
    assert np.array_equal(painted[known], image[known])
    there = [torch.from_numpy(array[:4]).cuda() for array in (image, mask, z)]
    output = torch.empty_like(there[0])
    engine.on_device(*there, output)
    assert np.array_equal(output.cpu().numpy(), painted[:4])
    with pytest.raises(ValueError, match="is needed"):
        engine.on_device(there[0].cpu(), *there[1:], output)
    assert np.array_equal(engine(image, mask, z), painted), "after the addresses were others"
