"""Batches of a training set, in an order that depends on (seed, epoch) only, from any step on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from cmgan.errors import CmganError, DeadlineError, SystemRefusal, UsageError
from cmgan.masks.rng import sample_rng
from cmgan.train.data.samples import TrainingSet

if TYPE_CHECKING:
    from torch import Tensor

_PATIENCE = 300  # seconds that a worker may take for a batch

Step = tuple[int, np.ndarray]  # epoch, the samples of one batch


def steps_per_epoch(training_set: TrainingSet, batch: int, world: int = 1) -> int:
    """Whole batches of every rank in one epoch: `len // (batch * world)`; what is left over differs by epoch.

    Raises:
        UsageError: too_few_pictures, not even one step.
    """
    steps = len(training_set) // (batch * world)
    if steps == 0:
        message = f"{len(training_set)} pictures are fewer than one step takes ({batch} x {world}); lower the batch"
        raise UsageError("too_few_pictures", message)
    return steps


def batches(
    training_set: TrainingSet,
    batch: int,
    epoch: int = 0,
    start: int = 0,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    *,
    epochs: int | None = 1,
    pinned: bool = False,
) -> Iterator[dict[str, Tensor]]:
    """The batches of `epoch` from step `start` on, and of the epochs after it: `epochs` in all, None for no end.

    Each has `image`, uint8 (batch, R, R, 3), `hole`, bool (batch, R, R), and `skipped`, int64 (batch,), the bad
    pictures passed over. Step k of an epoch takes `batch * world` samples of its permutation, rank r the r-th `batch`
    of them: the ranks share an epoch without overlap, and neither `workers` nor `start` changes a batch. `pinned`
    memory is for a GPU, which copies from it while the host goes on.

    Raises:
        UsageError: too_few_pictures.
        PictureError: a bad picture, where the set says "fail".
        SystemRefusal: worker_died. DeadlineError: worker_hangs.
    """
    from torch.utils.data import DataLoader

    steps_per_epoch(training_set, batch, world)
    loader: DataLoader[Any] = DataLoader(
        cast(Any, _Steps(training_set)),  # a map from steps, which are no numbers
        batch_size=None,
        sampler=_Order(training_set, batch, epoch, start, rank, world, epochs),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        timeout=_PATIENCE if workers else 0,
        pin_memory=pinned,
    )
    return _checked(loader)


def _checked(loader: Iterable[dict[str, Tensor] | CmganError]) -> Iterator[dict[str, Tensor]]:
    try:
        for item in loader:
            if isinstance(item, CmganError):
                raise item
            yield item
    except RuntimeError as error:  # of torch's loader; a refusal of ours is none
        text = str(error)
        if "timed out" in text:
            raise DeadlineError("worker_hangs", f"no batch for {_PATIENCE} s from the processes that load") from error
        if "DataLoader worker" in text:
            message = f"a process that loads pictures died ({text.splitlines()[0]}); memory may be short: fewer workers"
            raise SystemRefusal("worker_died", message) from error
        raise


class _Order:
    """The steps of one rank, lazily."""

    def __init__(
        self, training_set: TrainingSet, batch: int, epoch: int, start: int, rank: int, world: int, epochs: int | None
    ) -> None:
        self._set = training_set
        self._batch, self._epoch, self._start = batch, epoch, start
        self._rank, self._world, self._epochs = rank, world, epochs

    def __iter__(self) -> Iterator[Step]:
        epoch, start = self._epoch, self._start
        steps = steps_per_epoch(self._set, self._batch, self._world)
        while self._epochs is None or epoch < self._epoch + self._epochs:
            order = sample_rng(self._set.seed, epoch, 0, "order").permutation(len(self._set))
            for step in range(start, steps):
                first = (step * self._world + self._rank) * self._batch
                yield epoch, order[first : first + self._batch]
            epoch, start = epoch + 1, 0


class _Steps:
    """From a step to its batch. A refusal is returned: torch would hand on the text of a raised one only."""

    def __init__(self, training_set: TrainingSet) -> None:
        self._set = training_set

    def __getitem__(self, step: Step) -> dict[str, Tensor] | CmganError:
        import torch

        epoch, indices = step
        try:
            samples = [self._set.item(epoch, index) for index in indices.tolist()]
        except CmganError as error:
            return error
        return {
            "image": torch.from_numpy(np.stack([sample["image"] for sample in samples])),
            "hole": torch.from_numpy(np.stack([sample["hole"] for sample in samples])),
            "skipped": torch.tensor([sample["skipped"] for sample in samples]),
        }
