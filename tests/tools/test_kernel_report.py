"""The kernels compiled for GPUs that are not here: against the rules, and against the committed snapshot."""

import functools
from dataclasses import replace

import pytest

pytest.importorskip("triton", reason="Triton has no package for this platform")

import torch
import triton

from cmgan.kernels import launch
from cmgan.kernels.configurations import ARCHITECTURES, TILES, configurations
from cmgan.kernels.epilogue import scaling_epilogue
from cmgan.kernels.modconv2d import modconv2d
from tests.kernels.cases import convolution_arguments, epilogue_arguments, randn
from tools import kernel_aot as aot
from tools import kernel_report as report
from tools.kernel_aot import SHARED_LIMIT, Static, analyse, compile_for, faults

GROWTH = 1.1  # registers and shared memory may not exceed the snapshot by more


def by_name(name):
    return next(c for c in configurations() if c.name == name)


def test_the_snapshot_covers_every_configuration_and_breaks_no_rule():
    names = [c.name for c in configurations()]
    assert len(set(names)) == len(names) <= 40
    _, rows = report.load_snapshot()
    assert rows.keys() == {(name, arch) for name in names for arch in ARCHITECTURES}
    wrong = {key: found for key, static in rows.items() if (found := faults(by_name(key[0]), key[1], static))}
    assert not wrong


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stack": 8}, "spills"),
        ({"shared": SHARED_LIMIT[90] + 1}, "shared memory"),
        ({"matrix": "HMMA"}, "HGMMA wanted"),
        ({"matrix": ""}, "unused"),
        ({"wide_copies": 1}, "copies are of 128 bits"),
        ({"copies": 0, "wide_copies": 0}, "copies are of 128 bits"),
        ({"wide_stores": 0}, "no store"),
    ],
)
def test_each_rule_can_fail(change, message):
    good = {"registers": 100, "stack": 0, "shared": 1, "matrix": "HGMMA", "copies": 2, "wide_copies": 2}
    good |= {"wide_loads": 0, "wide_stores": 4}
    configuration = next(c for c in configurations() if c.name.startswith("modconv2d same"))
    assert not faults(configuration, 90, Static(**good))
    assert any(message in fault for fault in faults(configuration, 90, Static(**good | change)))


@pytest.mark.check
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_compiled_as_the_snapshot_says(arch):
    version, rows = report.load_snapshot()
    same_version = version == triton.__version__
    for name, _, static, wrong in report.measured([c.name for c in configurations()], [arch]):
        assert not wrong, name
        known = rows[name, arch]
        if same_version:  # another Triton may need other registers; the rules hold for it all the same
            assert static.registers <= known.registers * GROWTH and static.shared <= known.shared * GROWTH, name
            assert static.matrix == known.matrix, name


@pytest.mark.check
def test_what_the_analysis_says_of_a_spilling_kernel():
    """A tile far too large for its warps: the rule against spills is not vacuous."""
    configuration = by_name("modconv2d same bfloat16 128x128x64 w8 s3")
    huge = replace(configuration, constants={**configuration.constants, "BM": 256, "BN": 256})
    assert any("spills" in fault for fault in faults(huge, 80, compile_for(huge, 80)))


class PretendDriver:
    """As much of a driver as Triton asks for before it compiles: an architecture, no device."""

    def __init__(self, arch):
        self.arch = arch

    def get_current_target(self):
        return aot.GPUTarget("cuda", self.arch, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device=0):
        return 0

    def get_active_torch_device(self):
        return torch.device("cpu")

    def get_benchmarker(self):
        raise RuntimeError("there is no device")


@pytest.mark.check
@pytest.mark.parametrize("arch", [80, 90])
def test_the_launchers_specialise_as_the_configurations_do(arch, monkeypatch):
    """The real launchers, up to the launch: their arguments must carry the hints that wide loads need."""
    compiled = []
    plain = triton.runtime.jit.JITFunction.run

    @functools.wraps(plain)
    def warm(self, *arguments, grid, warmup, **options):
        self.device_caches.clear()  # they do not know that the architecture has changed
        compiled.append(plain(self, *arguments, grid=grid, warmup=True, **options))

    monkeypatch.setattr(launch, "INTERPRETED", True)
    monkeypatch.setattr(triton.runtime.jit.JITFunction, "run", warm)
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # what Triton did up to 3.9, which warns
    monkeypatch.setattr(triton.runtime.driver, "_active", PretendDriver(arch), raising=False)
    modconv2d(*convolution_arguments((1, 64, 32, 32), 64, 3, torch.bfloat16)[:5], tile=TILES[0])
    arguments = epilogue_arguments((1, 64, 32, 32), torch.bfloat16, up=True, last=True)[:4]
    scaling_epilogue(*arguments, style=randn(1, 64, dtype=torch.bfloat16), up=True)
    found = [analyse(kernel) for kernel in compiled]
    expected = ["modconv2d same bfloat16 128x64x64 w4 s3", "epilogue scaling, up bfloat16"]
    for static, name in zip(found, expected, strict=True):
        assert not faults(by_name(name), arch, static), name
        assert static == compile_for(by_name(name), arch), name
