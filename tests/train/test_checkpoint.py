"""Checkpoints: whole or absent, never of broken numbers, and every kind of damage is seen."""

import json
import logging
import shutil

import pytest
import torch

from cmgan.errors import ModelError, NumbersError
from cmgan.train.checkpoint import Checkpoint, latest_checkpoint, save_checkpoint


def checkpoint(step: int) -> Checkpoint:
    model = {"generator.a": torch.full((3, 5), float(step)), "path_mean": torch.tensor(0.5)}
    optimiser = {"generator.a.exp_avg": torch.arange(15.0).reshape(3, 5) + step}
    return Checkpoint(model, optimiser, {"step": step, "sums": {"l1": [0.1 + 0.2, 3]}})


def assert_same(found: Checkpoint | None, wanted: Checkpoint) -> None:
    assert found is not None
    assert found.state == wanted.state
    for ours, theirs in ((found.model, wanted.model), (found.optimiser, wanted.optimiser)):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_newest_is_read_back_exactly(tmp_path):
    for step in (9, 10, 100):
        save_checkpoint(tmp_path, checkpoint(step), keep=3)
    assert_same(latest_checkpoint(tmp_path), checkpoint(100))


def test_none_where_there_is_none(tmp_path):
    assert latest_checkpoint(tmp_path / "nowhere") is None
    assert latest_checkpoint(tmp_path) is None


def test_only_the_newest_are_kept(tmp_path):
    for step in range(1, 6):
        save_checkpoint(tmp_path, checkpoint(step), keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000004", "step-00000005"]


def test_numbers_that_are_not_finite_are_never_saved(tmp_path):
    save_checkpoint(tmp_path, checkpoint(1), keep=1)
    for part in ("model", "optimiser"):
        broken = checkpoint(2)
        next(iter(getattr(broken, part).values())).view(-1)[0] = float("nan")
        with pytest.raises(NumbersError, match=r"generator\.a.* is not finite"):
            save_checkpoint(tmp_path, broken, keep=1)
    assert_same(latest_checkpoint(tmp_path), checkpoint(1))
    assert len(list(tmp_path.iterdir())) == 1


def flipped(path, place):
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "bit in the weights": lambda folder: flipped(folder / "model.safetensors", -3),
    "bit in a header": lambda folder: flipped(folder / "optimiser.safetensors", 20),
    "bit in the state": lambda folder: flipped(folder / "state.json", 12),
    "manifest cut": lambda folder: (folder / "MANIFEST.json").write_text('{"cmgan.schema": 1, "fi'),
    "manifest of another shape": lambda folder: (folder / "MANIFEST.json").write_text("[]"),
    "weights cut": lambda folder: (folder / "model.safetensors").write_bytes(b"12345"),
    "weights empty": lambda folder: (folder / "model.safetensors").write_bytes(b""),
    "file missing": lambda folder: (folder / "state.json").unlink(),
    "file too many": lambda folder: (folder / "more.txt").write_text("x"),
    "file of another step": lambda folder: shutil.copy(
        folder.with_name("step-00000001") / "model.safetensors", folder / "model.safetensors"
    ),
    "whole step renamed": lambda folder: folder.rename(folder.with_name("step-00000003")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_passed_over_with_a_warning(tmp_path, caplog, damage):
    save_checkpoint(tmp_path, checkpoint(1), keep=2)
    newest = save_checkpoint(tmp_path, checkpoint(2), keep=2)
    DAMAGES[damage](newest)
    with caplog.at_level(logging.WARNING, logger="cmgan"):
        assert_same(latest_checkpoint(tmp_path), checkpoint(1))
    assert any("step-0000000" in message for message in caplog.messages)  # a long path has its middle left out


def test_every_bit_of_the_small_files_counts(tmp_path):
    """A single flipped bit at any byte of the state, and at every 7th of the weights, is seen."""
    path = save_checkpoint(tmp_path, checkpoint(1), keep=1)
    for name, stride in (("state.json", 1), ("model.safetensors", 7)):
        whole = (path / name).read_bytes()
        for place in range(0, len(whole), stride):
            flipped(path / name, place)
            with pytest.raises(ModelError, match="all 1 checkpoints are damaged"):
                latest_checkpoint(tmp_path)
            (path / name).write_bytes(whole)
    assert_same(latest_checkpoint(tmp_path), checkpoint(1))


def test_a_newer_schema_is_refused_not_passed_over(tmp_path):
    save_checkpoint(tmp_path, checkpoint(1), keep=2)
    newest = save_checkpoint(tmp_path, checkpoint(2), keep=2)
    manifest = json.loads((newest / "MANIFEST.json").read_text())
    (newest / "MANIFEST.json").write_text(json.dumps(manifest | {"cmgan.schema": 2}))
    with pytest.raises(ModelError, match="upgrade cmgan"):
        latest_checkpoint(tmp_path)


def test_a_step_may_be_saved_again(tmp_path):
    newest = save_checkpoint(tmp_path, checkpoint(2), keep=2)
    flipped(newest / "state.json", 0)
    save_checkpoint(tmp_path, checkpoint(2), keep=2)
    assert_same(latest_checkpoint(tmp_path), checkpoint(2))
