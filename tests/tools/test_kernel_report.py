"""The kernels compiled for GPUs that are not here: against the rules, and against the committed snapshot."""

from dataclasses import replace

import pytest

pytest.importorskip("triton", reason="Triton has no package for this platform")

import triton

from cmgan.kernels import modconv2d
from cmgan.kernels.catalogue import entries
from tools import kernel_report as report
from tools.kernel_aot import ARCHITECTURES, SHARED_LIMIT, Static, compile_for, faults

GROWTH = 1.1  # registers and shared memory may not exceed the snapshot by more


def by_name(name):
    return next(e for e in entries() if e.name == name)


def test_the_snapshot_covers_every_kernel_and_breaks_no_rule():
    names = [e.name for e in entries()]
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
    assert not faults(by_name("modconv2d"), 90, Static(**good))
    assert any(message in fault for fault in faults(by_name("modconv2d"), 90, Static(**good | change)))


def test_a_kernel_without_wide_loads_is_found():
    narrow = Static(**dict.fromkeys(Static.__dataclass_fields__, 0) | {"matrix": "", "wide_stores": 1})
    assert faults(by_name("epilogue"), 90, narrow) == ["no load of 128 bits"]
    assert not faults(replace(by_name("epilogue"), wide=False), 90, narrow)


@pytest.mark.check
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_compiled_as_the_snapshot_says(arch):
    version, rows = report.load_snapshot()
    same_version = version == triton.__version__
    for name, _, static, wrong in report.measured([e.name for e in entries()], [arch]):
        assert not wrong, name
        known = rows[name, arch]
        if same_version:  # another Triton may need other registers; the rules hold for it all the same
            assert static.registers <= known.registers * GROWTH and static.shared <= known.shared * GROWTH, name
            assert static.matrix == known.matrix, name


@pytest.mark.check
def test_what_the_analysis_says_of_a_spilling_kernel(monkeypatch):
    """A tile far too large for its warps: the rule against spills is not vacuous."""
    monkeypatch.setattr(modconv2d, "cut", lambda into, out: (256, 256, 64, 4, 3))
    assert any("spills" in fault for fault in faults(by_name("modconv2d"), 80, compile_for(by_name("modconv2d"), 80)))
