"""Opening OpenVINO files: what runs, and what is refused before OpenVINO sees it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cmgan.errors import MissingError, ModelError
from cmgan.export.artefact import export_model
from cmgan.export.gate.cases import parity_cases, stacked
from cmgan.export.gate.tolerances import TOLERANCES
from cmgan.export.options import ExportOptions
from cmgan.files import sha256
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.open import open_engine
from cmgan.runtime.openvino.engine import compiled, weights_of
from cmgan.runtime.openvino.file import check_ir
from cmgan.runtime.sidecar import sidecar_of


@pytest.fixture(scope="module")
def artefact(tiny_source, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("openvino") / "tiny"
    return export_model(tiny_source, folder, ExportOptions(format="openvino")).file


@pytest.fixture(scope="module")
def ir(artefact) -> tuple[bytes, bytes]:
    return artefact.read_bytes(), weights_of(artefact).read_bytes()


@pytest.fixture(scope="module")
def batch():
    return stacked(parity_cases(64, 64)[:3])


@pytest.fixture(scope="module")
def painted(artefact, batch):
    return open_engine(artefact)(*batch)


@pytest.fixture
def copied(artefact, tmp_path) -> Path:
    """The artefact in a folder of its own, to be spoilt."""
    for file in (artefact, weights_of(artefact), sidecar_of(artefact)):
        shutil.copy(file, tmp_path)
    return tmp_path / artefact.name


def _signed(path: Path) -> None:
    """Make the sidecar agree with the files, as who forges them would."""
    sidecar = sidecar_of(path)
    values = json.loads(sidecar.read_text())
    values["files"] = {file.name: sha256(file.read_bytes()) for file in (path, weights_of(path))}
    sidecar.write_text(json.dumps(values))


def test_info(artefact):
    info = open_engine(artefact, EngineOptions(threads=1)).info
    assert (info.format, info.name, info.resolution, info.precision) == ("openvino", "tiny-64", 64, "fp32")
    assert info.details["arithmetic"] == "f32" and info.details["threads"] == 1


def test_it_paints_what_eager_paints(painted, batch):
    eager = open_engine("tiny-64")(*batch)
    assert np.abs(eager.astype(int) - painted).max() <= TOLERANCES["fp32"].levels


def test_throughput_paints_the_same(artefact, batch, painted):
    engine = open_engine(artefact, EngineOptions(threads=2, throughput=True))
    assert engine.info.details["streams"] == 2
    assert np.abs(engine(*batch).astype(int) - painted).max() <= TOLERANCES["fp32"].levels


@pytest.mark.parametrize("throughput", [False, True])
def test_threads_share_an_engine(artefact, batch, throughput):
    engine = open_engine(artefact, EngineOptions(throughput=throughput))
    one, other = (tuple(array[i : i + 1] for array in batch) for i in range(2))
    wanted = [engine(*one), engine(*other)]
    with ThreadPoolExecutor(8) as pool:
        for i, output in enumerate(pool.map(lambda i: engine(*(one, other)[i % 2]), range(16))):
            np.testing.assert_array_equal(output, wanted[i % 2])


def test_the_files_may_go_once_it_is_open(copied, batch, painted):
    engine = open_engine(copied)
    weights_of(copied).write_bytes(b"")
    copied.unlink()
    np.testing.assert_array_equal(engine(*batch), painted)


def test_a_missing_device(artefact):
    with pytest.raises(MissingError, match="cuda"):
        open_engine(artefact, EngineOptions(device="cuda"))


def test_bf16_on_a_cpu_without_it(ir, monkeypatch):
    import openvino

    get = openvino.Core.get_property
    monkeypatch.setattr(
        openvino.Core, "get_property", lambda self, *a: ["FP32"] if "CAPABILITIES" in a[1] else get(self, *a)
    )
    with pytest.raises(MissingError, match="AVX-512 BF16"):
        compiled(*ir, "bf16", EngineOptions())


def test_no_telemetry_and_no_torch(artefact):
    """OpenVINO would report its import; asked in a process of its own, which has not imported it yet."""
    code = (
        "import sys; from cmgan.runtime.open import open_engine; open_engine(sys.argv[1]);"
        "from openvino.tools.ovc import telemetry_utils as t;"
        "print(t.tm.__name__, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, artefact], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "False"]


# -- spoilt files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [weights_of, sidecar_of])
def test_a_missing_file(copied, which):
    which(copied).unlink()
    with pytest.raises(ModelError, match=which(copied).name):
        open_engine(copied)


@pytest.mark.parametrize("which", [Path, weights_of])
@pytest.mark.parametrize("share", [0, 0.3, 0.7, 0.999])
def test_a_flipped_byte(copied, which, share):
    path = which(copied)
    data = bytearray(path.read_bytes())
    data[int(share * len(data))] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="is not the file that was exported"):
        open_engine(copied)


def test_weights_that_the_metadata_do_not_name(copied):
    values = json.loads(sidecar_of(copied).read_text())
    del values["files"][weights_of(copied).name]
    sidecar_of(copied).write_text(json.dumps(values))
    with pytest.raises(ModelError, match=weights_of(copied).name):
        open_engine(copied)


@pytest.mark.parametrize("share", [0, 0.5, 0.999])
def test_short_weights_with_a_sidecar_that_agrees(copied, share):
    weights = weights_of(copied)
    data = weights.read_bytes()
    weights.write_bytes(data[: int(share * len(data))])
    _signed(copied)
    with pytest.raises(ModelError, match="its weights are"):
        open_engine(copied)


def test_metadata_that_lie_about_the_graph(copied):
    values = json.loads(sidecar_of(copied).read_text())
    sidecar_of(copied).write_text(json.dumps(values | {"resolution": 128}))
    with pytest.raises(ModelError, match=r"image uint8 \(N, 64, 64, 3\).*\(N, 128, 128, 3\)"):
        open_engine(copied)


_DOCTYPE = b'<?xml version="1.0"?>\n<!DOCTYPE net [<!ENTITY a "b">]>\n<net '


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'<?xml version="1.0"?>\n<net ', _DOCTYPE),
        (b"<layers>", b'<!DOCTYPE net SYSTEM "file:///etc/hostname"><layers>'),
        (b'<?xml version="1.0"?>\n', b'<?xml version="1.0" encoding="UTF-7"?>\n'),
        (b'<?xml version="1.0"?>\n', b""),
        (b'offset="0"', b'offset="-4"'),
        (b'offset="0"', b'offset="999999999"'),
        (b'offset="0"', b'offset="99999999999999999999999"'),
        (b'offset="0"', b'offset="0x0"'),
        (b'offset="0" size="4"', b'offset="0" size="1000000000000000"'),
        (b'offset="0" size="4"', b'offset="0"'),
        (b"</layers>", b""),
        (b"</net>", b"</net"),
        (b'name="image"', b'name="\xff\xfe"'),
    ],
)
def test_what_no_export_writes(ir, old, new):
    xml, weights = ir
    assert old in xml
    with pytest.raises(ModelError):
        check_ir(xml.replace(old, new, 1), weights)


@pytest.mark.parametrize("data", [b"", b"plain text", b"\x08\x07model", b"<!DOCTYPE html><html></html>"])
def test_what_is_no_ir(data):
    with pytest.raises(ModelError):
        check_ir(data, b"")


def test_an_ir_that_openvino_refuses(ir):
    xml, weights = ir
    with pytest.raises(ModelError, match="OpenVINO refuses it"):
        compiled(xml.replace(b'type="Convolution"', b'type="Kaleidoscope"', 1), weights, "fp32", EngineOptions())
