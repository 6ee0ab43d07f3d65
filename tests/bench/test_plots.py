"""Plots are written, large enough to read, and show something."""

import numpy as np
import pytest
from PIL import Image

from cmgan.bench.files import default_folder, write_outcome
from cmgan.bench.measure import Outcome
from cmgan.errors import UsageError
from cmgan.export.gate.cases import parity_cases
from tests.bench.reports import report


@pytest.fixture
def outcome() -> Outcome:
    case = parity_cases(64, 8)[1]
    off = case.image.astype(np.int16)
    off[20:30, 20:40] += 5
    return Outcome(report(), case, case.image, {"eager": case.image, "onnx": off.clip(0, 255).astype(np.uint8)})


def test_folder_has_tables_and_plots(tmp_path, outcome):
    files = write_outcome(outcome, tmp_path / "bench")
    names = {"bench.json", "bench.csv", "bench.md", "latency.png", "latency-error.png", "error.png"}
    assert {file.name for file in files} == names
    for file in files:
        if file.suffix == ".png":
            with Image.open(file) as picture:
                assert min(picture.size) >= 400
                assert len(set(picture.convert("RGB").get_flattened_data())) > 20


def test_error_picture_follows_the_error(tmp_path, outcome):
    write_outcome(outcome, tmp_path / "some")
    same = Outcome(outcome.report, outcome.case, outcome.reference, {"onnx": outcome.reference})
    write_outcome(same, tmp_path / "none")
    colours = [
        set(Image.open(tmp_path / name / "error.png").convert("RGB").get_flattened_data()) for name in ("some", "none")
    ]
    assert colours[0] != colours[1]


def test_existing_folder_is_kept_without_overwrite(tmp_path, outcome):
    (tmp_path / "bench").mkdir()
    with pytest.raises(UsageError, match="--overwrite"):
        write_outcome(outcome, tmp_path / "bench")
    assert not list((tmp_path / "bench").iterdir())


def test_default_folder_is_named_after_the_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = default_folder()
    assert folder.parent.as_posix() == "runs/bench"
    assert folder.parent.is_dir()
    assert not folder.exists()
