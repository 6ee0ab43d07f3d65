"""A training run: its folder, its steps, and what is saved of them on the way."""

from __future__ import annotations

import fcntl
import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmgan.errors import ModelError, NumbersError, UsageError, logger, warn
from cmgan.files import write_atomically
from cmgan.model.generator import Generator
from cmgan.model.pipeline import inpaint_bytes
from cmgan.model.weights import save_generator, weights_digest
from cmgan.train.checkpoint import Checkpoint, latest_checkpoint, save_checkpoint
from cmgan.train.config import TrainConfig, differences, load_config, to_toml
from cmgan.train.data.batches import batches, steps_per_epoch
from cmgan.train.distributed import World
from cmgan.train.grow import fit_encoder
from cmgan.train.inputs import open_inputs, open_validation
from cmgan.train.journal import Journal, sheet
from cmgan.train.memory import keep_freed_memory
from cmgan.train.networks import Networks
from cmgan.train.signals import Signals
from cmgan.train.steps import Batch, Stepper, uses_bfloat16
from cmgan.train.tally import Record, Tally
from cmgan.train.validation import Validation

MOST_SKIPPED = 20  # steps in a row without a finite gradient
_SHOWN = 4  # pictures on a sheet

Report = Callable[[int, float], None]  # step, pictures a second


@dataclass
class Progress:
    """What a run remembers beside its tensors; part of every checkpoint."""

    step: int = 0  # steps done
    skipped: int = 0  # of them without a finite gradient
    skipped_in_a_row: int = 0
    bad_pictures: int = 0
    best: float | None = None  # the least loss on the validation pictures
    sums: dict[str, list[float]] = field(default_factory=dict)  # of each term since the last line: sum, count


@dataclass(frozen=True)
class Outcome:
    """How a session ended. `signal` is the one that asked for it, `finished` whether the run has all its steps."""

    step: int
    finished: bool
    signal: int | None


def train(
    config: TrainConfig,
    folder: Path,
    world: World,
    *,
    allow_change: bool = False,
    report: Report = lambda step, speed: None,
) -> Outcome:
    """Start the run `folder`, or go on with it where its configuration is the same.

    Raises:
        UsageError: `folder` is something else, in use, or a run with another configuration or of other processes.
        PictureError: the pictures cannot be used.
        ModelError: no checkpoint of it is sound, or the pictures are no longer the same.
        NumbersError: gradients were not finite for 20 steps, or processes drifted apart; the last checkpoint stands.
        SystemRefusal: something cannot be written.
    """
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    keep_freed_memory()
    with _claimed(folder, config, world, allow_change), Signals() as signals:
        run = _Run(config, folder, world, allow_change)
        return run.go(signals, report)


@contextmanager
def _claimed(folder: Path, config: TrainConfig, world: World, allow_change: bool) -> Iterator[None]:
    """The folder, made or recognised, for this run alone; the system drops the lock of a process that dies."""
    if world.rank:
        world.wait()
        yield
        return
    _check_folder(folder, config, allow_change)
    lock = _locked(folder)
    try:
        write_atomically(folder / "config.toml", to_toml(config).encode())
        world.wait()
        yield
    finally:
        os.close(lock)


def _locked(folder: Path) -> int:
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise UsageError("run_in_use", "another process is training here", file=folder) from None
    return lock


def _check_folder(folder: Path, config: TrainConfig, allow_change: bool) -> None:
    if not folder.exists():
        if not folder.parent.is_dir():
            raise UsageError("output_folder", f"the folder {folder.parent} does not exist; make it first", file=folder)
        folder.mkdir()
    if not (folder / "config.toml").is_file():
        if all(entry.name == "lock" or entry.name.startswith(".") for entry in folder.iterdir()):
            return
        raise UsageError("not_a_run", "is not empty and no training run; name another folder", file=folder)
    changed = differences(asdict(load_config(folder / "config.toml")), config)
    _refuse(changed, "run_differs", UsageError, folder, allow_change)


def _refuse(changed: list[str], slug: str, kind: type[UsageError | ModelError], folder: Path, allowed: bool) -> None:
    if not changed:
        return
    what = "; ".join(changed)
    if not allowed:
        raise kind(slug, f"{what}; --allow-change goes on all the same, not bit for bit", file=folder)
    warn(slug, f"{folder} goes on with changes, not bit for bit: {what}")


class _Run:
    """The state of a run in this process, and the loop over its steps."""

    def __init__(self, config: TrainConfig, folder: Path, world: World, allow_change: bool) -> None:
        self.config, self.folder, self.world = config, folder, world
        self.samples, self.fingerprint = open_inputs(config)
        self.steps_per_epoch = steps_per_epoch(self.samples, config.pictures_a_step, world.size)
        self.networks = Networks(config, world.device)
        self.progress = Progress()
        if not self._go_on(allow_change) and self.networks.small is not None:
            self._fit_encoder(self.networks.small)
        self.stepper = Stepper(config, self.networks, world)
        self.until = min(config.loop.steps, config.run.max_steps or config.loop.steps)  # the last step of this session
        self.tally = Tally(world)
        self.bad_pictures = 0  # of this process, since the last fetch
        self.validation: Validation | None = None
        if config.data.validation and world.rank == 0:
            held = open_validation(config)
            perceptual = self.stepper.perceptual
            self.validation = Validation(held, config.data.validation_pictures, config.loss, perceptual, world.device)
        self.journal: Journal | None = None
        if world.rank == 0:
            self.journal = Journal(folder, self.progress.step, tensorboard=config.run.tensorboard)

    def _surroundings(self) -> dict[str, Any]:
        """What else the bits of the result depend on."""
        threads = torch.get_num_threads() if self.world.device.type == "cpu" else 0
        device = self.world.device.type
        bfloat16 = uses_bfloat16(self.config.loop.autocast, self.world.device)
        versions = {"torch": torch.__version__, "bfloat16": bfloat16}
        return {"processes": self.world.size, "threads": threads, "device": device, **versions}

    def _fit_encoder(self, small: Generator) -> None:
        """What a grown generator's encoder lacks; every process does the same on the same pictures."""
        pictures, steps = self.config.loop.batch, self.config.loop.fit_encoder
        found = itertools.islice(batches(self.samples, pictures, epochs=None), steps)
        pairs = (Batch.of(sample, self.world.device) for sample in found)
        left = fit_encoder(self.networks.generator, small, ((pair.image, pair.mask) for pair in pairs))
        self.networks.ema.load_state_dict(self.networks.generator.state_dict())
        logger.info("the encoder was fitted to that of the smaller model: %.1f %% of the variance is left", 100 * left)

    def _go_on(self, allow_change: bool) -> bool:
        """Take up the newest checkpoint; False where there is none."""
        checkpoint = latest_checkpoint(self.folder / "checkpoints")
        if checkpoint is None:
            return False
        before, now = checkpoint.state["surroundings"], self._surroundings()
        changed = [f"{name} {before.get(name)} -> {value}" for name, value in now.items() if before.get(name) != value]
        _refuse(changed, "surroundings_differ", UsageError, self.folder, allow_change)
        if checkpoint.state["data"] != self.fingerprint:
            changed = [f"the pictures of {self.config.data.path} are not those that the run began with"]
            _refuse(changed, "data_changed", ModelError, self.folder, allow_change)
        self.networks.load(checkpoint.model, checkpoint.optimiser)
        self.progress = Progress(**checkpoint.state["progress"])
        return True

    def go(self, signals: Signals, report: Report) -> Outcome:
        """Steps until the last one, a limit or a signal; then what was not yet saved is."""
        run, steps, began = self.config.run, self.config.loop.steps, time.monotonic()
        last, last_step = began, self.progress.step
        stop = self.progress.step >= self.until
        loader = iter(()) if stop else self._loader()
        while not stop:
            sample = next(loader)
            terms, finite = self.stepper.step(self.progress.step, Batch.of(sample, self.world.device))
            late = bool(run.max_minutes) and time.monotonic() - began > 60 * run.max_minutes
            self.progress.step += 1
            self.bad_pictures += int(sample["skipped"].sum())
            self.tally.add(terms, finite)
            stop, save = self._account(signals.stop is not None or late, signals.save)
            stop = stop or self.progress.step >= self.until
            now = time.monotonic()
            if self.progress.step % run.log_every == 0:
                done = (self.progress.step - last_step) * self.config.pictures_a_step * self.world.size
                self._log(now - began, done / (now - last))
                report(self.progress.step, done / (now - last))
                last, last_step = now, self.progress.step
            if self.progress.step % self.config.data.validation_every == 0 or self.progress.step == steps:
                self._validate()
            if self.progress.step % run.grid_every == 0 or stop:
                self._show()
            if save or stop or self.progress.step % run.save_every == 0:
                signals.save = False
                self._save()
        if self.journal is not None:
            self.journal.close()
        return Outcome(self.progress.step, self.progress.step >= steps, signals.stop)

    def _loader(self) -> Iterator[dict[str, torch.Tensor]]:
        """The samples of this process from the next step on, without end."""
        epoch, start = divmod(self.progress.step, self.steps_per_epoch)
        pictures, workers = self.config.pictures_a_step, self.config.run.workers
        share, pinned = (self.world.rank, self.world.size), self.world.device.type == "cuda"
        return batches(self.samples, pictures, epoch, start, *share, workers, epochs=None, pinned=pinned)

    def _account(self, stop: bool, save: bool) -> tuple[bool, bool]:
        """Take in the steps since the last time, where it is time to; `stop` and `save` are asked of this process.

        Returns whether any process was asked to stop, to save: at once where there is but one, otherwise when they
        meet next.
        """
        step, run = self.progress.step, self.config.run
        due = step % run.log_every == 0 or step % run.save_every == 0 or step >= self.until
        if not due and not (self.world.size == 1 and (stop or save)):
            return False, False
        records, (stops, saves, bad) = self.tally.fetch(stop, save, self.bad_pictures)
        self.progress.bad_pictures += bad
        self.bad_pictures = 0
        for number, record in enumerate(records, step - len(records) + 1):
            self._note(number, record)
        return stops > 0, saves > 0

    def _note(self, number: int, record: Record) -> None:
        progress = self.progress
        if record.finite:
            progress.skipped_in_a_row = 0
            for name, value in record.terms.items():
                total, count = progress.sums.get(name, [0.0, 0])
                progress.sums[name] = [total + value, count + 1]
            return
        progress.skipped += 1
        progress.skipped_in_a_row += 1
        warn("gradient_non_finite", f"step {number} is skipped: its gradient is not finite")
        if progress.skipped_in_a_row >= MOST_SKIPPED:
            message = f"the gradients of {MOST_SKIPPED} steps in a row are not finite; lower the learning rates"
            raise NumbersError("gradient_non_finite", f"{message}; the last checkpoint is intact", file=self.folder)

    def _log(self, seconds: float, speed: float) -> None:
        progress = self.progress
        line: dict[str, Any] = {"step": progress.step}
        line |= {name: total / count for name, (total, count) in progress.sums.items()}
        line["learning_rate"] = self.networks.optimisers["generator"].param_groups[0]["lr"]
        line |= {"skipped": progress.skipped, "seconds": round(seconds, 1), "pictures_per_second": round(speed, 2)}
        progress.sums = {}
        if self.journal is not None:
            self.journal.write(line)

    def _validate(self) -> None:
        """Note the losses on the validation pictures; the best generator by them is kept as the folder `best`."""
        if self.validation is None or self.journal is None:
            return
        terms = self.validation(self.networks.ema)
        self.journal.write({"step": self.progress.step, **terms})
        if self.progress.best is None or terms["validation"] < self.progress.best:
            self.progress.best = terms["validation"]
            self._save_model("best")

    def _show(self) -> None:
        """A sheet of the first pictures, of those for validation where there are any: with their hole, as the averaged
        generator fills it, as they are."""
        if self.journal is None:
            return
        rows = []
        samples = self.samples if self.validation is None else self.validation.samples
        for index in range(min(_SHOWN, len(samples))):
            sample = samples.item(0, index)
            holed = np.where(sample["hole"][..., None], 128, sample["image"]).astype(np.uint8)
            rows.append((holed, self._filled(sample["image"], sample["hole"], index), sample["image"]))
        self.journal.show(self.progress.step, sheet(rows))

    @torch.no_grad()
    def _filled(self, image: np.ndarray, hole: np.ndarray, seed: int) -> np.ndarray:
        device, ema = self.world.device, self.networks.ema
        z = torch.randn(1, ema.config.z_dim, generator=torch.Generator().manual_seed(seed))
        mask = torch.from_numpy(hole.astype(np.uint8) * 255)
        picture, _ = inpaint_bytes(
            ema, torch.from_numpy(image.copy())[None].to(device), mask[None].to(device), z.to(device)
        )
        return picture[0].cpu().numpy()

    def _save(self) -> None:
        """A checkpoint, the model folder `ema`, the plot; processes must agree on the weights first."""
        self.world.check_agreement(weights_digest(self.networks.generator))
        if self.journal is not None:
            state = {
                "step": self.progress.step,
                "progress": asdict(self.progress),
                "surroundings": self._surroundings(),
                "data": self.fingerprint,
            }
            tensors = self.networks.model_tensors(), self.networks.optimiser_tensors()
            checkpoints = self.folder / "checkpoints"
            checkpoints.mkdir(exist_ok=True)
            save_checkpoint(checkpoints, Checkpoint(*tensors, state), self.config.run.keep)
            self._save_model("ema")
            self.journal.plot()
        self.world.wait()

    def _save_model(self, name: str) -> None:
        licence = self.config.model.licence
        save_generator(self.networks.ema, self.folder / name, trained=True, licence=licence, overwrite=True)
