"""A recipe of stages: each grows from the one before, and a broken run ends with the same bits."""

import json
import os
import signal

import pytest

from cmgan.cli.main import run as run_command
from cmgan.model.weights import load_generator
from cmgan.train.config import load_config
from tests.train.runs import digests, journal
from tests.train.test_train_command import finished, started, wait_for_line

RECIPE = """
[model]
preset = "tiny-64"
[data]
path = "procedural:7"
validation = "procedural:2"
validation_every = 2
[loss]
perceptual = 0
[loop]
batch = 2
fit_encoder = 2
[run]
workers = 0
log_every = 1
save_every = 2
grid_every = 100
[[stages]]
name = "half"
model.resolution = 32
loop.steps = 5
[[stages]]
name = "whole"
loop.steps = 5
optimiser.schedule = "cosine"
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    file = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    file.write_text(RECIPE)
    return file


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory):
    """Both stages without a break. Not to be changed."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert run_command(["train", "-c", str(recipe), "-o", str(run), "--threads", "1"]) == 0
    return run


def test_each_stage_is_a_run_that_starts_from_the_best_of_the_one_before(whole):
    assert {path.name for path in whole.iterdir()} == {"1-half", "2-whole"}
    assert load_generator(whole / "1-half" / "best").generator.config.resolution == 32
    assert load_generator(whole / "2-whole" / "ema").generator.config.resolution == 64
    assert load_config(whole / "2-whole" / "config.toml").model.start == str(whole / "1-half" / "best")


def test_the_limit_of_steps_counts_over_the_stages(recipe, whole, tmp_path, capsys):
    run = tmp_path / "run"
    command = ["train", "-c", str(recipe), "-o", str(run), "--threads", "1", "--json", "-"]
    assert run_command([*command, "--max-steps", "3"]) == 0
    assert not (run / "2-whole").exists() and not json.loads(capsys.readouterr().out)["finished"]
    assert run_command([*command, "--max-steps", "7"]) == 0
    assert journal(run / "2-whole")[-1]["step"] == 2
    capsys.readouterr()
    assert run_command(command) == 0
    assert json.loads(capsys.readouterr().out)["finished"]
    for stage in ("1-half", "2-whole"):
        assert digests(run / stage) == digests(whole / stage)


@pytest.mark.check
def test_killed_in_either_stage_it_ends_with_the_same_bits(recipe, whole, tmp_path):
    run = tmp_path / "run"
    command = ["train", "-c", str(recipe), "-o", str(run), "--threads", "1"]
    for stage in ("1-half", "2-whole"):
        process = started(command)
        wait_for_line(run / stage, 3, process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()  # which closes its pipe, too
    finished(started(command))
    for stage in ("1-half", "2-whole"):
        assert digests(run / stage) == digests(whole / stage)
        assert journal(run / stage) == journal(whole / stage)
