"""`.pt` files: state dictionaries become generators, everything else is refused without being run."""

import io
import os
import zipfile

import pytest
import torch

from cmgan.config import PRESETS
from cmgan.errors import ModelError
from cmgan.model.convert import read_state_dict
from cmgan.model.initialise import seeded_generator
from cmgan.model.weights import weights_digest

TINY = PRESETS["tiny-64"]


@pytest.fixture(scope="module")
def tiny():
    return seeded_generator(TINY)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: state,
        lambda state: {"g_ema": state, "step": 7},
        lambda state: {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
    ],
    ids=["bare", "g_ema", "data parallel"],
)
def test_the_weights_come_back(tiny, wrapped, tmp_path):
    torch.save(wrapped(tiny.state_dict()), tmp_path / "g.pt")
    generator = read_state_dict(tmp_path / "g.pt")
    assert generator.config == TINY
    assert weights_digest(generator) == weights_digest(tiny)
    z = torch.zeros(1, 64)
    image, mask = torch.zeros(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(generator(image, mask, z), tiny(image, mask, z), rtol=0, atol=0)


class _Command:
    def __reduce__(self):
        return os.system, ("touch marker",)


def _saved(value) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _bomb() -> bytes:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a/data.pkl", "w", force_zip64=True) as file,
    ):
        for _ in range(65):
            file.write(bytes(2**26))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "slug"),
    [
        (lambda tiny: _saved(_Command()), "pickle"),
        (lambda tiny: _saved(tiny), "pickle"),
        (lambda tiny: _saved({"step": 1}), "no_state_dict"),
        (lambda tiny: _saved([1, 2]), "no_state_dict"),
        (lambda tiny: _saved(tiny.state_dict())[:200_000], "damaged"),
        (lambda tiny: _saved({"a": torch.zeros(3)}), "other_network"),
        (lambda tiny: _saved({n: t * torch.inf for n, t in tiny.state_dict().items()}), "weights_non_finite"),
        (lambda tiny: b"", "not_a_checkpoint"),
        (lambda tiny: b"\x80\x02}q\x00.", "not_a_checkpoint"),
    ],
    ids=["command", "module", "no tensors", "a list", "cut", "other network", "not finite", "empty", "old pickle"],
)
def test_refusals(tiny, data, slug, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.pt").write_bytes(data(tiny))
    with pytest.raises(ModelError) as refusal:
        read_state_dict(tmp_path / "g.pt")
    assert refusal.value.slug == slug
    assert "weights_only" not in refusal.value.line()
    assert not (tmp_path / "marker").exists()


@pytest.mark.check
def test_a_zip_bomb_is_refused_from_its_directory(tmp_path):
    (tmp_path / "g.pt").write_bytes(_bomb())
    with pytest.raises(ModelError, match="bytes unpacked"):
        read_state_dict(tmp_path / "g.pt")


def test_a_pkl_is_refused_whatever_it_holds(tiny, tmp_path):
    torch.save(tiny.state_dict(), tmp_path / "g.pkl")
    with pytest.raises(ModelError, match=r"torch\.save"):
        read_state_dict(tmp_path / "g.pkl")


def test_a_preset_that_does_not_fit(tiny, tmp_path):
    torch.save(tiny.state_dict(), tmp_path / "g.pt")
    with pytest.raises(ModelError, match="missing"):
        read_state_dict(tmp_path / "g.pt", PRESETS["mini-256"])
