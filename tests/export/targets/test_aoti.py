"""Packages of native code: what is compiled, and that it paints the same picture in a process without cmgan."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cmgan.bench.measure import run_bench
from cmgan.bench.plan import BenchRequest
from cmgan.errors import MissingError, UsageError
from cmgan.export.artefact import export_model
from cmgan.export.gate.cases import parity_cases, stacked
from cmgan.export.gate.check import check_artefact
from cmgan.export.gate.tolerances import TOLERANCES
from cmgan.export.options import ExportOptions
from cmgan.export.source import Source, eager_outputs
from cmgan.export.targets import aoti
from cmgan.export.trace import OnnxOptions
from cmgan.model.weights import resolve
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.file_engine import graph_inputs
from cmgan.runtime.open import open_engine
from cmgan.runtime.sidecar import sidecar_of

LOADER = """
import sys, json, numpy, torch
given = numpy.load(sys.argv[2])
facts = json.load(open(sys.argv[1] + ".json"))
assert facts["pipeline"] == "full" and facts["details"]["torch"] == torch.__version__.split("+")[0]
run = torch._inductor.aoti_load_package(sys.argv[1])
output, _ = run(*(torch.from_numpy(given[name]) for name in ("image", "mask", "z")))
print(abs(output.numpy().astype(int) - given["output"]).max())
assert not any(name.startswith("cmgan") for name in sys.modules)
"""


class Layers(nn.Module):
    """A convolution, a product of maps and a product of vectors."""

    def __init__(self):
        super().__init__()
        self.conv, self.affine = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 4)

    def forward(self, x, z):
        y = self.conv(x) * self.affine(z)[:, :, None, None]
        return y @ y.transpose(2, 3)


def test_bfloat16_is_for_maps_alone():
    layers, x, z = Layers().eval().requires_grad_(False), torch.randn(2, 4, 8, 8), torch.randn(2, 4)
    program = torch.export.export(layers, (x, z))
    aoti.multiply_in_bfloat16(program.graph)
    found = program.module()(x, z)
    y = F.conv2d(x.bfloat16(), layers.conv.weight.bfloat16(), layers.conv.bias.bfloat16(), padding=1).float()
    y = y * layers.affine(z)[:, :, None, None]
    wanted = y.bfloat16() @ y.transpose(2, 3).bfloat16()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted.float(), rtol=0, atol=0)


def test_without_a_compiler_it_says_what_to_install():
    source = Source(resolve("tiny-64"))
    missing = torch._inductor.config.patch({"cpp.cxx": (None, "no-such-compiler")})
    with missing, pytest.raises(MissingError, match="apt-get install g") as caught:
        aoti.build(source, ExportOptions("aoti"), lambda step: None)
    assert caught.value.exit_code == 5


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() == "DEFAULT", reason="this CPU has no vectors")
def test_a_compiler_that_cannot_use_the_vectors_is_told(tmp_path):
    """Such as an old one. It would give an engine that paints the same picture at half the speed."""
    old = tmp_path / "g++"
    old.write_text("""#!/bin/sh\ncase "$*" in *-mavx*|*sve*) exit 1;; *) exec g++ "$@";; esac\n""")
    old.chmod(0o755)
    code = "import sys; from cmgan.cli.main import run; sys.exit(run(sys.argv[1:]))"
    words = ["export", "--format", "aoti", "--model", "tiny-64", "-o", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=os.environ | {"CXX": str(old)}, capture_output=True, text=True
    )
    assert done.returncode == 5 and "trial program" in done.stderr and "CXX" in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_here():
    with pytest.raises(MissingError, match="--device cpu always can"):
        aoti.build(Source(resolve("tiny-64")), ExportOptions("aoti", device="cuda"), lambda step: None)


def test_options():
    options = ExportOptions(format="pt2", device="cuda:1")
    assert (options.kind.name, options.file_name) == ("aoti", "model.pt2")
    with pytest.raises(UsageError, match="--device means nothing to --format onnx"):
        ExportOptions(format="onnx", device="cuda")
    with pytest.raises(UsageError, match="for aoti, known are fp32, bf16"):
        ExportOptions(format="aoti", precision="fp16")


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A fp32 pipeline and a bf16 core of tiny-64, compiled with a temporary folder of their own."""
    if not shutil.which("g++"):
        pytest.skip("PyTorch's compiler needs g++")
    folder, scratch = tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("scratch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(scratch))
        patch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
        model = resolve("tiny-64")
        for precision, pipeline in (("fp32", "full"), ("bf16", "core")):
            graph = OnnxOptions(pipeline=pipeline)
            export_model(model, folder / precision, ExportOptions("aoti", precision, graph))
        left = [os.path.join(where, file) for where, _, files in os.walk(scratch) for file in files]
        assert not left, "compiling leaves nothing behind"
    return folder


@pytest.fixture(scope="module")
def batch():
    return stacked(parity_cases(64, 64)[:3])


@pytest.mark.check
def test_any_batch_of_pictures_is_the_eager_models(packages, batch):
    engine = open_engine(packages / "fp32" / "model.pt2", EngineOptions(threads=1))
    assert (engine.info.format, engine.info.precision, engine.info.trained) == ("aoti", "fp32", False)
    for n in (1, 2, 3):
        arrays = [array[:n] for array in batch]
        wanted, _ = eager_outputs(resolve("tiny-64").generator, parity_cases(64, 64)[:n])
        output = engine(*arrays)
        assert np.abs(output.astype(int) - wanted).max() <= TOLERANCES["fp32"].levels
        np.testing.assert_array_equal(output[arrays[1] < 128], arrays[0][arrays[1] < 128])


@pytest.mark.check
@pytest.mark.parametrize("name", ["fp32/model.pt2", "bf16/model_bf16.pt2"])
def test_the_verdict_holds_again(packages, name):
    stored = json.loads(sidecar_of(packages / name).read_text())["verdict"]
    assert stored["values"] == "passed" and any("hot" in case for case in stored["cases"])
    assert check_artefact(packages / name)["values"] == "passed"


@pytest.mark.check
def test_a_bench_leaves_nothing_unpacked(packages, tmp_path, monkeypatch):
    """Its processes are killed, and packages unpack themselves."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    request = BenchRequest(
        artefacts=(packages / "fp32" / "model.pt2",), formats=("aoti",), batches=(1,), resolution=64, iters=1, warmup=0
    )
    assert [row.status for row in run_bench(request).report.rows] == ["measured"] * 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.check
def test_bf16_rounds(packages, batch):
    """A bf16 package that computed in fp32 would pass as well."""
    raw = open_engine(packages / "bf16" / "model_bf16.pt2").output(*batch)
    wanted = eager_outputs(resolve("tiny-64").generator, parity_cases(64, 64)[:3])[1]
    assert np.abs(raw - wanted).max() > TOLERANCES["fp32"].max_abs


@pytest.mark.check
def test_hot_weights_reach_the_compiled_code(packages, batch):
    """The gate replaces constants of the package; were that to no effect, hot weights would prove nothing."""
    data = (packages / "fp32" / "model.pt2").read_bytes()
    layer = next(iter(aoti.hot_layers(resolve("tiny-64").generator)))
    bias = resolve("tiny-64").generator.get_parameter(f"{layer}.bias")
    options = ExportOptions("aoti")
    cases = parity_cases(64, 64)[:1]
    plain = aoti._runner(data, options)(cases)["raw"]
    changed = aoti._runner(data, options, {f"generator.{layer}.bias": bias * -3})(cases)["raw"]
    assert np.abs(plain - changed).max() > TOLERANCES["fp32"].max_abs


@pytest.mark.check
@pytest.mark.filterwarnings("ignore")
def test_a_process_without_cmgan_runs_it(packages, batch, tmp_path):
    path = packages / "fp32" / "model.pt2"
    inputs = graph_inputs("full", *batch)
    np.savez(tmp_path / "given.npz", **inputs, output=open_engine(path)(*batch))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["TORCHINDUCTOR_CACHE_DIR"] = str(tmp_path / "cache")
    command = [sys.executable, "-c", LOADER, str(path), str(tmp_path / "given.npz")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= TOLERANCES["fp32"].levels
