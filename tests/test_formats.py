"""Which model a folder stands for."""

import pytest

from cmgan.config import chosen_model
from cmgan.errors import UsageError
from cmgan.formats import model_in


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("files", "meant"),
    [
        (["manifest.json", "config.json", "model.onnx"], "."),  # a model folder, whatever else is in it
        (["config.toml", "ema/manifest.json", "checkpoints/1/manifest.json"], "ema"),  # a training run
        (["1-64/ema/manifest.json", "9-a/ema/manifest.json", "10-b/ema/manifest.json", "11-c/lock"], "10-b/ema"),
        (["model.onnx", "model.onnx.data", "model.onnx.parity.npz"], "model.onnx"),  # an export
        (["model_bf16.xml", "model_bf16.bin", "model_bf16.json"], "model_bf16.xml"),
        (["config.toml"], "."),  # a run that has not saved yet
        ([], "."),
    ],
)
def test_a_folder_stands_for_the_model_in_it(files, meant, tmp_path):
    folder = put(tmp_path, *files)
    assert model_in(folder) == folder / meant
    assert chosen_model(str(folder), None) == str(folder / meant)


def test_of_several_artefacts_one_must_be_named(tmp_path):
    with pytest.raises(UsageError, match="2 exported files: model.onnx, model_fp16.onnx; name one") as caught:
        model_in(put(tmp_path, "model.onnx", "model_fp16.onnx"))
    assert caught.value.slug == "several_artefacts"


def test_names_come_before_folders(tmp_path, monkeypatch):
    put(tmp_path / "photos-256", "ema/manifest.json")
    monkeypatch.chdir(tmp_path)
    assert chosen_model("photos-256", None) == "photos-256"
    assert chosen_model("./photos-256", None) == "photos-256/ema"
