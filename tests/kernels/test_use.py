"""Switching a generator between the reference and the kernels, on a machine without a GPU."""

import subprocess
import sys

import pytest
import torch

from cmgan import kernels
from cmgan.config import preset
from cmgan.errors import MissingError, UsageError
from cmgan.model.initialise import seeded_generator


@pytest.fixture(scope="module")
def generator():
    return seeded_generator(preset("tiny-64"))


def inputs():
    return torch.rand(2, 3, 64, 64) * 2 - 1, (torch.rand(2, 1, 64, 64) > 0.5).float(), torch.randn(2, 64)


def test_on_a_cpu_auto_is_the_generator_itself(generator):
    assert kernels.use(generator, "auto") is kernels.use(generator, "reference") is generator


def test_an_unknown_implementation_is_refused(generator):
    with pytest.raises(UsageError, match="reference, triton, auto"):
        kernels.use(generator, "cuda")


def test_without_triton_only_the_kernels_are_missing():
    """A blocked import stands for a machine without the package."""
    program = """
import sys
sys.modules["triton"] = None
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "triton" else find(name, *rest)
import cmgan.kernels as kernels
from cmgan.config import preset
from cmgan.errors import MissingError
from cmgan.model.generator import Generator
generator = Generator(preset("tiny-64"))
assert kernels.use(generator, "auto") is generator
try:
    kernels.use(generator, "triton")
except MissingError as error:
    assert "pip install triton" in str(error)
else:
    raise SystemExit("not refused")
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_importing_the_package_loads_neither_torch_nor_triton():
    program = "import sys, cmgan.kernels; assert not {'torch', 'triton'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


class TestWithTriton:
    @pytest.fixture(autouse=True)
    def _triton(self):
        pytest.importorskip("triton", reason="Triton has no package for this platform")

    def test_kernels_on_a_cpu_are_refused_not_replaced(self, generator):
        network = kernels.use(generator, "triton")
        with torch.no_grad(), pytest.raises(MissingError, match="CUDA"):
            network(*inputs())

    def test_the_generator_stays_as_it_is(self, generator):
        before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
        kernels.use(generator, "triton")
        after = generator.state_dict()
        assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
        assert all(p.requires_grad for p in generator.parameters())
