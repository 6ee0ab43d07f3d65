"""The PyTorch engine: its precisions, its refusals, arrays that stay where they are."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cmgan.config import preset
from cmgan.errors import MissingError, UsageError
from cmgan.export.gate.cases import parity_cases, stacked
from cmgan.export.gate.parity import compare
from cmgan.export.gate.tolerances import TOLERANCES
from cmgan.model.initialise import seeded_generator
from cmgan.runtime.eager import EagerEngine, EagerOptions, prepared
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.open import open_engine
from cmgan.weights import bundled

REPOSITORY = Path(__file__).parents[2]
CONFIG = preset("tiny-64")


def engine(kernels="reference", **options):
    running = EagerOptions(**options)
    network = prepared(seeded_generator(CONFIG), kernels, running)
    return EagerEngine(network, CONFIG, trained=False, weights_sha256="none", options=running)


@pytest.fixture(scope="module")
def cases():
    return parity_cases(CONFIG.resolution, CONFIG.z_dim)


def test_auto_on_a_cpu_is_the_reference_to_the_bit(cases):
    given = stacked(cases[:2])
    expected = engine("reference")(*given)
    assert np.array_equal(engine("auto")(*given), expected)
    assert np.array_equal(open_engine("tiny-64", EngineOptions(kernels="auto"))(*given), expected)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_weights_paint_the_picture(precision, cases):
    exact, half = engine(), engine(precision=precision, channels_last=True)
    assert next(half._run.parameters()).dtype in (torch.bfloat16, torch.float16)
    for case in cases:
        given = stacked([case])
        comparison = compare(case.name, exact(*given), half(*given), case.mask[None] >= 128)
        assert not comparison.failure(TOLERANCES[precision])


def test_tf32_is_a_setting_of_the_call(cases):
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    seen = []
    running = engine(precision="tf32")
    running._run.register_forward_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    running(*stacked(cases[:1]))
    assert seen == [True] and running.info.precision == "tf32"
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def test_arrays_of_another_library_are_read_and_written_where_they_lie(cases):
    running, given = engine(), stacked(cases[:2])
    output = np.zeros_like(given[0])
    running.on_device(torch.from_numpy(given[0]), *given[1:], output)
    assert np.array_equal(output, running(*given))
    with pytest.raises(ValueError, match="z is .*float64.*float32"):
        running.on_device(given[0], given[1], given[2].astype(np.float64), output)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (EngineOptions(precision="bf16"), UsageError, "needs --device cuda"),
        (EngineOptions(precision="int4"), UsageError, "fp32, tf32, bf16, fp16"),
        (EngineOptions(kernels="triton"), MissingError, "needs --device cuda"),
        (EngineOptions(kernels="fast"), UsageError, "reference, triton, auto"),
    ],
)
def test_what_a_cpu_cannot_do_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        open_engine("tiny-64", options)


def test_an_exported_file_has_its_precision():
    name = next(iter(bundled()))
    for options in (EngineOptions(precision="bf16"), EngineOptions(kernels="triton")):
        with pytest.raises(UsageError, match="chosen at its export"):
            open_engine(name, options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    ("flags", "code"), [(["--device", "cuda"], 5), (["--kernels", "triton"], 5), (["--precision", "bf16"], 2)]
)
def test_the_command_refuses_in_one_line(flags, code, tmp_path):
    command = [sys.executable, str(REPOSITORY / "cli.py"), "inpaint", str(REPOSITORY / "examples/photo.jpg")]
    command += [str(REPOSITORY / "examples/mask.png"), "--model", "tiny-64", "-o", str(tmp_path / "out.png"), *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == code and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "out.png").exists()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
@pytest.mark.parametrize("kernels", ["reference", "triton"])
def test_a_graph_of_each_batch_size_paints_what_the_calls_paint(kernels, cases):
    plain, graph = (
        engine(kernels, device="cuda", precision="bf16", channels_last=True, graph=g) for g in (False, True)
    )
    for n in (1, 2, 1, 3, 2):
        given = stacked(cases[:n])
        assert np.array_equal(graph(*given), plain(*given))
    assert sorted(graph._run._captured) == [1, 2, 3]
