import dataclasses

import pytest

from cmgan.config import PRESETS, GeneratorConfig, preset
from cmgan.errors import ModelError, UsageError

TINY = PRESETS["tiny-64"]


def test_presets_are_the_published_table():
    rows = {
        # R, base, max, z, w, mapping layers, attention at and below, fill
        "paper-512": (512, 32768, 512, 512, 512, 4, 32, "none"),
        "paper-256": (256, 32768, 512, 512, 512, 4, 32, "none"),
        "small-512": (512, 8192, 128, 512, 512, 4, 32, "pyramid"),
        "small-256": (256, 8192, 128, 512, 512, 4, 32, "pyramid"),
        "mini-256": (256, 4096, 64, 256, 256, 4, 32, "pyramid"),
        "tiny-64": (64, 1024, 32, 64, 64, 4, 16, "pyramid"),
    }
    assert {name: dataclasses.astuple(config) for name, config in PRESETS.items()} == {
        name: (name, *row) for name, row in rows.items()
    }


def test_scales_and_channels():
    assert PRESETS["paper-512"].scales == [4, 8, 16, 32, 64, 128, 256, 512]
    assert [PRESETS["paper-512"].channels(r) for r in (4, 64, 128, 256, 512)] == [512, 512, 256, 128, 64]
    assert TINY.scales == [4, 8, 16, 32, 64] and [TINY.channels(r) for r in TINY.scales] == [32, 32, 32, 32, 16]


def test_an_unknown_preset_lists_the_presets():
    with pytest.raises(UsageError, match="'huge' is no preset; the presets are paper-512, .*tiny-64"):
        preset("huge")


def test_round_trip():
    assert GeneratorConfig.from_dict(TINY.to_dict()) == TINY


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resolution": "64"}, "field resolution is '64'; int is needed"),
        ({"resolution": True}, "field resolution is True; int is needed"),
        ({"z_dim": 64.0}, "field z_dim is 64.0; int is needed"),
        ({"name": 3}, "field name is 3; str is needed"),
        ({"fill": "harmonic"}, "fill 'harmonic': one of pyramid, none is needed"),
        ({"extra": 1}, "unknown or missing fields: extra"),
        ({"resolution": 96}, "resolution 96: a power of two from 16 to 4096"),
        ({"resolution": 8}, "resolution 8: a power of two"),
        ({"resolution": 8192}, "resolution 8192: a power of two"),
        ({"resolution": -64}, "resolution -64: a power of two"),
        ({"w_dim": 0}, "w_dim 0: a number from 1 to 65536"),
        ({"channel_max": 2**17}, "channel_max 131072: a number from 1 to 65536"),
        ({"channel_base": 128}, "2 channels at scale 64: .* at least 4"),
    ],
)
def test_impossible_configurations_are_refused(change, words):
    with pytest.raises(ModelError, match=words):
        GeneratorConfig.from_dict(TINY.to_dict() | change)


def test_a_missing_field_is_named():
    values = TINY.to_dict()
    del values["w_dim"]
    with pytest.raises(ModelError, match="unknown or missing fields: w_dim"):
        GeneratorConfig.from_dict(values)
