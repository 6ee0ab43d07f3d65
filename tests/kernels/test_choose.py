"""Which convolutions run as one kernel: the table of measured winners, and the model where nothing was measured."""

import json

import pytest

pytest.importorskip("triton", reason="Triton has no package for this platform")

import torch

from cmgan.errors import ModelError
from cmgan.kernels import choose
from cmgan.kernels.choose import COMMITTED, MACHINES, Layer, load_winners, seconds, way, way_of, winners_json
from cmgan.kernels.modconv2d import cut

LAYER = Layer(90, "bfloat16", 1, 64, 64, 512)


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "winners.json"
    table = {LAYER: ("fused", 12.345), Layer(90, "float16", 8, 128, 64, 512): ("library", 3.0)}
    path.write_text(winners_json(table, {"gpu": "a test"}, complete=True))
    assert load_winners(path) == {layer: found for layer, (found, _) in table.items()}
    assert json.loads(path.read_text())["stamp"] == {"gpu": "a test"}


def test_the_committed_table_is_one():
    assert load_winners(COMMITTED) or "not measured" in COMMITTED.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "JSONDecodeError"),
        ("{}", "complete"),
        (winners_json({LAYER: ("fused", 1.0)}, {}, complete=False), "it is partial"),
        ('{"complete": true, "winners": [{"way": "fused"}]}', "layer"),
        (json.dumps({"complete": True, "winners": [{"layer": LAYER.__dict__, "way": "quick"}]}), "not in"),
    ],
)
def test_a_broken_or_partial_table_is_refused(text, message, tmp_path):
    path = tmp_path / "winners.json"
    path.write_text(text)
    with pytest.raises(ModelError, match=message):
        load_winners(path)
    with pytest.raises(ModelError):
        load_winners(tmp_path / "missing.json")


def test_a_measurement_overrides_the_model(monkeypatch):
    modelled = way(LAYER)
    other = next(name for name in choose.WAYS if name != modelled)
    monkeypatch.setattr(choose, "_committed", lambda: {LAYER: other})
    assert way(LAYER) == other


def test_the_model_of_a_known_layer():
    """64 channels at 512 x 512 on sm_90, by hand: arithmetic of 19.3 GFLOP, each map 33.6 MB, taps read nine times."""
    times = seconds(LAYER, MACHINES[90])
    assert times["library"] == pytest.approx(19.33e9 / (0.7 * 800e12) + 67.1e6 / 3.2e12 + 3e-6, rel=1e-3)
    assert times["fused"] == pytest.approx(2 * 2048 * 9 * 64 * (128 + 64) / 5.5e12 + 1.5e-6, rel=1e-3)


def test_float32_and_large_layers_stay_with_the_library():
    assert way(Layer(90, "float32", 1, 16, 16, 256)) == "library"
    assert all(way(Layer(arch, "bfloat16", n, 512, 512, 64)) == "library" for arch in MACHINES for n in (1, 8))


def test_a_gpu_that_nobody_knows_follows_the_one_before():
    assert way(Layer(99, "bfloat16", 1, 16, 16, 256)) == way(Layer(90, "bfloat16", 1, 16, 16, 256))


def test_tiles_do_no_padded_work():
    assert [cut(c, c)[1:3] for c in (16, 32, 64, 128)] == [(16, 16), (32, 32), (64, 64), (64, 64)]


def test_the_way_of_tensors_is_that_of_their_layer():
    weight = torch.empty(16, 16, 3, 3)
    assert way_of(torch.empty(1, 16, 256, 256, dtype=torch.bfloat16), weight) == "fused"
    assert way_of(torch.empty(1, 16, 256, 256), weight) == "library"
