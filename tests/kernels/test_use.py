"""Switching a generator between the reference and the kernels, on a machine without a GPU."""

import subprocess
import sys

import pytest
import torch

from cmgan import kernels
from cmgan.config import preset
from cmgan.errors import MissingError, UsageError
from cmgan.model.functional import ACTIVATION_SPACE
from cmgan.model.initialise import seeded_generator


@pytest.fixture(scope="module")
def generator():
    return seeded_generator(preset("tiny-64"))


def inputs():
    return torch.rand(2, 3, 64, 64) * 2 - 1, (torch.rand(2, 1, 64, 64) > 0.5).float(), torch.randn(2, 64)


def test_auto_is_the_reference_where_nothing_was_measured(generator):
    given = inputs()
    with torch.no_grad():
        expected = kernels.use(generator, "reference")(*given)
        assert torch.equal(kernels.use(generator, "auto")(*given), expected)


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
from cmgan.model.functional import ACTIVATION_SPACE
from cmgan.model.generator import Generator
generator = Generator(preset("tiny-64"))
assert kernels.use(generator, "auto").ops is ACTIVATION_SPACE
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
        kernels.use(generator, "triton")
        with torch.no_grad(), pytest.raises(MissingError, match="CUDA"):
            generator(*inputs())

    def test_the_switch_leaves_every_parameter_alone(self, generator):
        before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
        kernels.use(generator, "triton")
        after = generator.state_dict()
        assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
        assert kernels.use(generator, "reference").ops is ACTIVATION_SPACE

    @pytest.mark.check
    def test_torch_export_keeps_the_ops_and_their_decomposition_is_exact(self, generator):
        given = inputs()
        with torch.no_grad():
            expected = kernels.use(generator, "reference")(*given)
            program = torch.export.export(kernels.use(generator, "triton"), given, strict=False)
        ops = {str(node.target) for node in program.graph.nodes if "cmgan" in str(node.target)}
        assert ops == {
            f"cmgan.{name}.default" for name in ("epilogue", "scaling_epilogue", "spatial_epilogue", "modconv2d")
        }
        torch.testing.assert_close(program.module()(*given), expected)

    @pytest.mark.check
    def test_onnx_export_gives_the_same_graph_with_kernels_switched_on(self, generator):
        pytest.importorskip("onnxscript", reason="needs cmgan[export]")
        from cmgan.export.trace import OnnxOptions, onnx_from_generator

        graphs = []
        for implementation in ("reference", "triton"):
            kernels.use(generator, implementation)
            graphs.append(onnx_from_generator(generator, OnnxOptions()).SerializeToString(deterministic=True))
        assert graphs[0] == graphs[1]
        assert generator.ops is not ACTIVATION_SPACE
