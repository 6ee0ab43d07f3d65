"""An op compiled ahead of time by PyTorch: the package runs in a process that does not know cmgan."""

import shutil
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="Triton has no package for this platform")

import torch

from cmgan.kernels.catalogue import entries
from cmgan.kernels.epilogue import epilogue

LOADER = """
import sys, torch
given, expected = torch.load(sys.argv[1])
found = torch._inductor.aoti_load_package(sys.argv[2])(*given)
torch.testing.assert_close(found, expected)
assert not any(name.startswith("cmgan") for name in sys.modules)
"""


class Layer(torch.nn.Module):
    def forward(self, y, demod, bias, residual):
        return epilogue(y, demod, bias, residual)


@pytest.mark.check
@pytest.mark.filterwarnings("ignore")  # PyTorch's own, of its compiler
@pytest.mark.skipif(not shutil.which("g++"), reason="PyTorch's compiler needs g++")
def test_the_package_needs_no_cmgan(tmp_path):
    (entry,) = (e for e in entries() if e.name == "epilogue")
    given = tuple(entry.arguments((1, 8, 8, 8), torch.float32)[:4])
    program = torch.export.export(Layer(), given)
    assert "cmgan.epilogue.default" in {str(node.target) for node in program.graph.nodes}
    package = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "layer.pt2"))
    torch.save((given, Layer()(*given)), tmp_path / "case.pt")
    subprocess.run([sys.executable, "-c", LOADER, str(tmp_path / "case.pt"), package], check=True)
