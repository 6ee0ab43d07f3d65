"""The rows that a bench has for the kernels: from bytes to bytes, judged as any artefact of that precision."""

import pytest

from cmgan.bench.rows import KINDS, Setting
from cmgan.export.gate.cases import parity_cases, stacked
from cmgan.export.gate.parity import compare
from cmgan.export.gate.tolerances import TOLERANCES
from cmgan.kernels.launch import launches
from cmgan.model.weights import resolve, save_generator
from tests.kernels.interpreter import tensor_core_dots


@pytest.mark.parametrize("name", ["triton", "triton-bf16"])
def test_it_paints_eagers_picture(name, tmp_path):
    generator = resolve("tiny-64").generator
    save_generator(generator, tmp_path / "tiny", trained=False, licence="none")
    setting = Setting(tmp_path / "tiny", None, "activation", 2, "cpu")
    case = parity_cases(generator.config.resolution, generator.config.z_dim)[0]
    expected = KINDS["eager"].open(setting)(*stacked([case]))
    launches.clear()
    with tensor_core_dots():
        found = KINDS[name].open(setting)(*stacked([case]))
    assert launches["fold"] == 2 and launches["spatial_epilogue"] == 5
    assert not compare(case.name, expected, found, case.mask[None] >= 128).failure(TOLERANCES[KINDS[name].precision])
