"""A run in this process: what it writes, that it goes on exactly, and what it refuses."""

import logging

import pytest
import torch
from PIL import Image

from cmgan.errors import ModelError, NumbersError, UsageError
from cmgan.model.generator import Generator
from cmgan.model.weights import load_generator
from cmgan.train.data.batches import batches
from cmgan.train.inputs import open_inputs
from cmgan.train.loop import MOST_SKIPPED, train
from cmgan.train.networks import Networks
from cmgan.train.steps import Batch, Stepper
from tests.tolerances import tolerance
from tests.train.runs import ALONE, digests, journal, small


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of four steps without a break. Not to be changed."""
    run = tmp_path_factory.mktemp("whole") / "run"
    outcome = train(small(), run, ALONE)
    assert (outcome.step, outcome.finished, outcome.signal) == (4, True, None)
    return run


def test_a_run_leaves_what_it_should(whole):
    assert {path.name for path in whole.iterdir()} == {
        *("config.toml", "journal.jsonl", "losses.png", "lock"),
        *("checkpoints", "grids", "ema"),
    }
    (line,) = journal(whole)
    assert line["step"] == 3
    wanted = {"l1_hole", "l1_known", "adversarial", "discriminator", "r1", "path_length", "generator_gradient"}
    assert wanted < line.keys()
    with Image.open(whole / "losses.png") as plot, Image.open(whole / "grids" / "step-00000004.png") as sheet:
        assert min(plot.size) > 100
        assert sheet.size == (3 * 66 + 2, 4 * 66 + 2)  # pictures of 64 pixels, two between them


def test_the_best_generator_by_the_validation_pictures_is_kept(tmp_path):
    """Of a run whose learning rate jumps so that it gets worse; the journal has a look after every step."""
    run = tmp_path / "run"
    plain = ("loss.adversarial_weight=0", "loss.path_length=0", "optimiser.warmup=0", "optimiser.ema_warmup=0")
    looks = ("data.validation=procedural:3", "data.validation_every=1", "run.log_every=1")
    train(small(*plain, *looks, "loop.steps=3", "run.max_steps=1", "optimiser.learning_rate=1e-3"), run, ALONE)
    kept = (run / "best" / "model.safetensors").read_bytes()
    worse = small(*plain, *looks, "loop.steps=3", "optimiser.learning_rate=1e3")
    train(worse, run, ALONE, allow_change=True)
    lines = journal(run)
    scores = [line["validation"] for line in lines if "validation" in line]
    assert len(scores) == 3 and scores[0] == min(scores) < max(scores[1:])
    assert (run / "best" / "model.safetensors").read_bytes() == kept
    assert (run / "ema" / "model.safetensors").read_bytes() != kept
    assert [line["learning_rate"] for line in lines if "learning_rate" in line][0] == pytest.approx(1e-3)
    assert load_generator(run / "best").trained


def test_tensorboard_reads_the_numbers_of_the_journal_and_the_pictures(tmp_path):
    """Of a run that was stopped and went on: its own reader finds each step once."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, settings = tmp_path / "run", ("run.tensorboard=true", "run.log_every=1", "loop.steps=3")
    train(small(*settings, "run.max_steps=2"), run, ALONE)
    train(small(*settings), run, ALONE)
    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    for name in ("l1_hole", "generator_gradient"):
        read = [(event.step, event.value) for event in board.Scalars(name)]
        assert read == [(line["step"], pytest.approx(line[name])) for line in journal(run)]  # it keeps float32
    shown = board.Images("pictures")
    assert [event.step for event in shown] == [2, 3]
    assert (shown[0].width, shown[0].height) == (3 * 66 + 2, 4 * 66 + 2)


def test_the_averaged_weights_are_a_trained_model(whole):
    model = load_generator(whole / "ema")
    assert model.trained and model.licence == "not stated"
    z = torch.zeros(1, model.generator.config.z_dim)
    image = model.generator(torch.zeros(1, 3, 64, 64), torch.ones(1, 1, 64, 64), z)
    assert image.isfinite().all()


@pytest.mark.parametrize("pause", [pytest.param(1, marks=pytest.mark.check), 3])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(whole, tmp_path, pause):
    """The pauses fall within an epoch and at its end, before and after the discriminator begins, between two lines."""
    run = tmp_path / "run"
    outcome = train(small(f"run.max_steps={pause}"), run, ALONE)
    assert (outcome.step, outcome.finished) == (pause, False)
    torch.manual_seed(99)  # whatever the process did before
    torch.randn(7)
    train(small(), run, ALONE)
    assert digests(run) == digests(whole)
    assert journal(run) == journal(whole)


@pytest.mark.check
@pytest.mark.parametrize("lost", ["optimiser", "ema", "path_mean", "memory layout"])
def test_the_comparison_notices_what_a_resume_would_lose(whole, tmp_path, monkeypatch, lost):
    run = tmp_path / "run"
    train(small("run.max_steps=3"), run, ALONE)
    load = Networks.load

    def forgetful(self, model, optimiser):
        if lost == "optimiser":
            optimiser = {}
        elif lost == "path_mean":
            model = model | {"path_mean": torch.zeros(())}
        elif lost == "ema":
            model = model | {k: v + 1 for k, v in model.items() if k.startswith("ema.") and k.endswith("bias")}
        load(self, model, optimiser)
        if lost == "memory layout":  # contiguous instead: sums in another order
            self.generator.to(memory_format=torch.contiguous_format)

    monkeypatch.setattr(Networks, "load", forgetful)
    train(small(), run, ALONE)
    assert digests(run) != digests(whole)


def test_a_damaged_checkpoint_falls_back_and_the_result_is_the_same(whole, tmp_path, caplog):
    run = tmp_path / "run"
    train(small("run.max_steps=2", "run.save_every=1"), run, ALONE)
    newest = max((run / "checkpoints").iterdir())
    (newest / "optimiser.safetensors").write_bytes(b"gone")
    with caplog.at_level(logging.WARNING, logger="cmgan"):
        train(small(), run, ALONE)
    assert "step-00000002" in caplog.text
    assert digests(run) == digests(whole)
    assert journal(run) == journal(whole)


def test_a_finished_run_stays_as_it_is(whole):
    before = digests(whole)
    assert train(small(), whole, ALONE).finished
    assert digests(whole) == before


def test_another_configuration_is_refused_with_what_differs(whole):
    with pytest.raises(UsageError, match=r"loop\.seed 0 -> 5; optimiser|loop\.seed 0 -> 5; --allow-change"):
        train(small("loop.seed=5"), whole, ALONE)


def test_other_pictures_processes_and_folders_are_refused(whole, tmp_path, monkeypatch):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(UsageError, match="no training run"):
        train(small(), tmp_path / "notes", ALONE)
    with pytest.raises(UsageError, match="make it first"):
        train(small(), tmp_path / "no" / "run", ALONE)
    monkeypatch.setattr("cmgan.train.procedural.SIDE", 95)
    with pytest.raises(ModelError, match="not those that the run began with"):
        train(small(), whole, ALONE)
    monkeypatch.undo()
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        with pytest.raises(UsageError, match=f"threads {threads} -> {threads + 1}"):
            train(small(), whole, ALONE)
    finally:
        torch.set_num_threads(threads)


def test_changes_may_be_allowed(tmp_path, caplog):
    run = tmp_path / "run"
    train(small("run.max_steps=1"), run, ALONE)
    with caplog.at_level(logging.WARNING, logger="cmgan"):
        train(small("loop.steps=2", "loop.seed=5"), run, ALONE, allow_change=True)
    assert "loop.steps 4 -> 2; loop.seed 0 -> 5" in caplog.text


def test_two_trainers_cannot_share_a_folder(tmp_path):
    run, seen = tmp_path / "run", []
    config = small("loop.steps=1", "run.log_every=1", "loss.adversarial_weight=0")

    def second(step, speed):
        with pytest.raises(UsageError, match="another process is training here"):
            train(config, run, ALONE)
        seen.append(step)

    train(config, run, ALONE, report=second)
    assert seen == [1]


def test_too_few_pictures_are_refused(tmp_path):
    with pytest.raises(UsageError, match="fewer than one step"):
        train(small("data.path=procedural:1"), tmp_path / "run", ALONE)


def poisoned(monkeypatch, bad_steps):
    """Let the generator paint NaN in these forward passes."""
    forward, calls = Generator.forward, []

    def broken(self, *args, **kwargs):
        raw = forward(self, *args, **kwargs)
        if self.training:
            calls.append(1)
            if len(calls) - 1 in bad_steps:
                return raw * float("nan")
        return raw

    monkeypatch.setattr(Generator, "forward", broken)


def test_a_step_without_a_finite_gradient_is_skipped_and_counted(tmp_path, monkeypatch, caplog):
    poisoned(monkeypatch, {1, 2})
    run = tmp_path / "run"
    with caplog.at_level(logging.WARNING, logger="cmgan"):
        assert train(small("run.log_every=4"), run, ALONE).finished
    assert "step 2 is skipped" in caplog.text and "step 3 is skipped" in caplog.text
    assert journal(run)[-1]["skipped"] == 2
    assert load_generator(run / "ema").trained  # which refuses what is not finite


@pytest.mark.check
def test_too_many_in_a_row_end_the_run_with_the_last_checkpoint_intact(tmp_path, monkeypatch):
    run = tmp_path / "run"
    plain = ("loop.steps=100", "loss.adversarial_weight=0", "loss.path_length=0", "loop.batch=1")
    train(small(*plain, "run.max_steps=1"), run, ALONE)
    before = digests(run)
    poisoned(monkeypatch, set(range(1, 100)))
    with pytest.raises(NumbersError, match=f"{MOST_SKIPPED} steps in a row"):
        train(small(*plain), run, ALONE)
    assert digests(run) == before


def test_accumulated_batches_are_the_same_step_as_one():
    """Two forward passes of one picture each give the gradient of one pass of two.

    But for what is drawn a pass: z, which is made not to matter here, and the noise. (The discriminator looks at the
    spread within a pass.)
    """
    plain = ("loss.adversarial_weight=0", "loss.path_length=0", "loop.autocast=off")
    gradients = []
    for shape in (("loop.batch=2",), ("loop.batch=1", "loop.accumulate=2")):
        config = small(*plain, *shape)
        samples, _ = open_inputs(config)
        sample = next(iter(batches(samples, config.pictures_a_step)))
        networks = Networks(config, ALONE.device)
        networks.generator.mapping.layers[0].weight.data.zero_()
        _, finite = Stepper(config, networks, ALONE).step(0, Batch.of(sample, ALONE.device))
        assert finite
        named = networks.generator.named_parameters()
        gradients.append(torch.cat([p.grad.flatten() for name, p in named if not name.endswith("strength")]))
    difference = (gradients[0] - gradients[1]).norm() / gradients[0].norm()
    assert difference < tolerance("float32_batch")
