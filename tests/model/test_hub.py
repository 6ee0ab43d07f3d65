"""Models by name: folders, and what a hub's own library finds in its cache."""

import shutil

import pytest

import cmgan
from cmgan.config import PRESETS
from cmgan.errors import MissingError, ModelError, UsageError
from cmgan.model.initialise import seeded_generator
from cmgan.model.weights import save_generator, weights_digest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "model"
    save_generator(seeded_generator(PRESETS["tiny-64"], 5), folder, trained=True, licence="CC0-1.0")
    return folder


@pytest.fixture
def cache(folder, tmp_path, monkeypatch):
    """A hub's cache with the model in it, as the library lays it out, and no network."""
    constants = pytest.importorskip("huggingface_hub.constants")
    repository = tmp_path / "models--someone--fills"
    shutil.copytree(folder, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_a_folder(folder):
    loaded = cmgan.from_pretrained(folder)
    assert loaded.trained and loaded.licence == "CC0-1.0"
    assert loaded.digest == weights_digest(seeded_generator(PRESETS["tiny-64"], 5))


def test_a_hubs_repository(folder, cache):
    assert cmgan.from_pretrained("someone/fills").digest == cmgan.from_pretrained(folder).digest


def test_what_the_hub_does_not_have(cache):
    with pytest.raises(MissingError, match="cannot be had"):
        cmgan.from_pretrained("someone/else")


def test_no_name_of_anything():
    with pytest.raises(UsageError, match="no model folder"):
        cmgan.from_pretrained("nothing here")


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        cmgan.from_pretrained(tmp_path)
