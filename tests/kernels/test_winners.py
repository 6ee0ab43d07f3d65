"""The table of measured winners: its file, and who follows it."""

import json

import pytest
import torch

pytest.importorskip("triton", reason="Triton has no package for this platform")

from cmgan.config import preset
from cmgan.errors import ModelError
from cmgan.kernels.table import KernelTable
from cmgan.kernels.winners import COMMITTED, FOLD, REFERENCE, Layer, Tile, Way, batch_bucket, load_winners, winners_json
from cmgan.model.generator import Generator

LAYER = Layer(90, "bfloat16", 1, "same", 64, 64, 512)
FUSED = Way("fused", Tile(128, 64, 64, 4, 3))


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "winners.json"
    table = {LAYER: (FUSED, 12.345), Layer(90, "float16", 8, "up", 128, 64, 512): (FOLD, 3.0)}
    path.write_text(winners_json(table, {"gpu": "a test"}))
    assert load_winners(path) == {layer: way for layer, (way, _) in table.items()}
    assert json.loads(path.read_text())["stamp"] == {"gpu": "a test"}


def test_the_committed_table_is_one():
    """Each of its tiles is among those that are compiled ahead of time."""
    from cmgan.kernels.configurations import TILES

    ways = load_winners().values()
    assert all(way.tile is None or way.tile in TILES for way in ways)
    assert COMMITTED.read_text() == winners_json({}, {"gpu": "not measured"}) or ways


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"winners": [{"path": "fold"}]}',
        '{"winners": [{"layer": {}, "path": "fold", "tile": null}]}',
        json.dumps({"winners": [{"layer": LAYER.__dict__, "path": "quick", "tile": None}]}),
        json.dumps({"winners": [{"layer": LAYER.__dict__, "path": "fused", "tile": None}]}),
        json.dumps({"winners": [{"layer": LAYER.__dict__, "path": "fused", "tile": [1, 2]}]}),
    ],
)
def test_a_broken_table_is_refused(tmp_path, text):
    path = tmp_path / "winners.json"
    path.write_text(text)
    with pytest.raises(ModelError, match="no table of winners"):
        load_winners(path)
    with pytest.raises(ModelError):
        load_winners(tmp_path / "missing.json")


def test_every_batch_above_one_follows_eight():
    assert [batch_bucket(n) for n in (1, 2, 8, 32)] == [1, 8, 8, 8]


def test_a_cpu_has_no_winner():
    table = KernelTable(Generator(preset("tiny-64")), {LAYER: FUSED})
    assert table.way(torch.zeros(1, 64, 512, 512, device="meta"), "same", (64, 64), 512) == REFERENCE
