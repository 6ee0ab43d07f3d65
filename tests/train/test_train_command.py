"""`cmgan train` as its users start it: killed, asked to stop, in two processes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from cmgan.cli.main import run as run_command
from cmgan.train.config import load_config, load_recipe, to_toml
from tests.train.runs import SETTINGS, digests, journal, small

ROOT = Path(__file__).parents[2]
PATIENCE = 900  # seconds, on a machine that is busy
CHEAP = ("loss.path_length=0", "loop.steps=12", "run.save_every=3", "run.log_every=2")


def command(run: Path, *overrides: str) -> list[str]:
    return ["train", *SETTINGS, *overrides, "-o", str(run)]


def started(arguments: list[str], *launcher: str, **environment: str) -> subprocess.Popen[str]:
    set_up = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    start = [sys.executable, *launcher, str(ROOT / "cli.py"), *arguments]
    return subprocess.Popen(start, env=set_up, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def finished(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors


def wait_for_line(run: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Until the journal has reached `step`."""
    until = time.monotonic() + PATIENCE
    while not (run / "journal.jsonl").exists() or not any(line["step"] >= step for line in journal(run)):
        assert process.poll() is None and time.monotonic() < until, "the run ended or stands still"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Twelve steps without a break. Not to be changed."""
    run = tmp_path_factory.mktemp("whole") / "run"
    finished(started(command(run, *CHEAP)))
    return run


def test_a_run_that_is_there_goes_on_with_its_own_configuration(capsys, tmp_path):
    """But for the limits of its last session, which are over; what is given anew still counts."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.toml").write_text(to_toml(load_config(None, [*SETTINGS, "loop.seed=7", "run.max_steps=3"])))
    assert run_command(["train", "-o", str(run), "--print-config", "--max-minutes", "2"]) == 0
    printed = tomllib.loads(capsys.readouterr().out)
    assert printed["loop"]["seed"] == 7 and printed["loop"]["batch"] == small().loop.batch
    assert printed["run"]["max_steps"] == 0 and printed["run"]["max_minutes"] == 2


def test_the_configuration_is_printed_whole(capsys):
    assert run_command(["train", "--print-config", *SETTINGS, "--max-steps", "3"]) == 0
    printed = capsys.readouterr().out
    assert tomllib.loads(printed)["run"]["max_steps"] == 3
    assert tomllib.loads(printed)["loop"]["batch"] == small().loop.batch


def test_a_dry_run_takes_a_step_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_command(["train", "--dry-run", *SETTINGS, "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["pictures a step"] == 2 and document["steps"] == 4
    assert document["seconds a step"] > 0 and document["peak memory, MB"] > 0
    assert {"l1_hole", "r1", "path_length", "adversarial"} < document["terms"].keys()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["model.preset=tiny-64", "data.path=procedural:4"], 2, "-o RUN"),
        (["model.preset=tiny-64", "data.pth=x"], 2, "did you mean path?"),
        (["model.preset=tiny-64", "data.path=procedural:some", "-o", "run"], 2, "a number of pictures"),
        (["model.preset=tiny-64", "data.path=nowhere", "-o", "run"], 3, "nowhere"),
        (["--config", "none.toml"], 2, "none.toml"),
        (
            ["model.preset=tiny-64", "data.path=procedural:9", "run.device=tpu", "-o", "run"],
            2,
            "one of auto, cpu, cuda",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(tmp_path, monkeypatch, capsys, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    assert run_command(["train", *arguments]) == code
    assert message in capsys.readouterr().err


@pytest.mark.check
def test_killed_at_random_it_goes_on_bit_for_bit(whole, tmp_path):
    """Kill -9 three times, at moments that no test chose; the seed is printed when it fails."""
    run, seed = tmp_path / "run", random.randrange(2**32)
    moments = random.Random(seed)
    for kill in range(3):
        process = started(command(run, *CHEAP))
        wait_for_line(run, 2 + 3 * kill, process)
        time.sleep(moments.uniform(0, 1))
        process.kill()
        process.communicate()
    finished(started(command(run, *CHEAP)))
    assert digests(run) == digests(whole), f"seed {seed}"
    assert journal(run) == journal(whole), f"seed {seed}"
    left = [path for path in run.rglob("*cmgan-tmp*")]
    assert left == [], "temporaries of the killed processes"


@pytest.mark.check
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_asked_to_stop_it_saves_and_says_so(whole, tmp_path, number, code):
    run = tmp_path / "run"
    process = started(command(run, *CHEAP, "run.save_every=1000"))
    wait_for_line(run, 2, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, errors
    assert len(list((run / "checkpoints").iterdir())) == 1
    finished(started(command(run, *CHEAP)))
    assert digests(run) == digests(whole)


@pytest.mark.check
def test_two_processes_agree_with_their_own_resume(tmp_path):
    """Under torchrun with gloo; the pictures of a step are shared out, and the result is not that of one process."""
    cheap = (*CHEAP, "loop.steps=4", "loop.batch=1")
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    finished(started(command(tmp_path / "whole", *cheap), *torchrun))
    finished(started([*command(tmp_path / "run", *cheap), "--max-steps", "2"], *torchrun))
    finished(started(command(tmp_path / "run", *cheap), *torchrun))
    assert digests(tmp_path / "run") == digests(tmp_path / "whole")
    assert journal(tmp_path / "run") == journal(tmp_path / "whole")
    process = started(command(tmp_path / "run", *cheap))  # alone
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2 and "processes 2 -> 1" in errors


@pytest.mark.check
def test_the_smoke_recipe(tmp_path):
    """As the documentation starts it: it learns, and its model fills a hole."""
    run, still = tmp_path / "run", tmp_path / "still"
    recipe = ["train", "--config", str(ROOT / "recipes" / "smoke.toml")]
    finished(started([*recipe, "-o", str(run)]))
    finished(started([*recipe, "optimiser.learning_rate=1e-9", "-o", str(still)]))
    lines = journal(run)
    assert lines[-1]["step"] == 60
    for term, share in (
        ("l1_hole", 1.0),
        ("perceptual", 0.95),
    ):  # a model that stands still sees the same batches
        learned, frozen = (sum(line[term] for line in journal(folder)[3:]) for folder in (run, still))
        assert learned < share * frozen
    assert (run / "losses.png").stat().st_size > 10_000
    assert len(list((run / "grids").iterdir())) == 3
    photo, mask = ROOT / "examples" / "photo.jpg", ROOT / "examples" / "mask.png"
    filled = tmp_path / "filled.png"
    assert run_command(["inpaint", str(photo), str(mask), "--model", str(run / "ema"), "-o", str(filled)]) == 0
    assert filled.exists()


def test_the_recipes_are_configurations():
    for recipe in ("smoke.toml", "photos/mini-256.toml", "photos/small-512.toml"):
        assert all(stage.config.model.preset for stage in load_recipe(ROOT / "recipes" / recipe))
