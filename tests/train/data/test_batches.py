import itertools
import os
import signal

import numpy as np
import pytest
import torch

from cmgan.errors import PictureError, SystemRefusal, UsageError
from cmgan.train.data.batches import batches, steps_per_epoch
from cmgan.train.data.pictures import open_pictures
from cmgan.train.data.samples import TrainingSet
from tests.hostile.generate import encoded
from tests.train.data.archives import folder_of, tar_of


class Numbered:
    """A training set whose sample `index` has that number in every pixel."""

    def __init__(self, length, bad=(), killed=None, seed=0):
        self.length, self.bad, self.killed, self.seed = length, bad, killed, seed

    def __len__(self):
        return self.length

    def item(self, epoch, index):
        if index in self.bad:
            raise PictureError("image_corrupt", "damaged", file=f"{index}.jpg")
        if index == self.killed:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"image": np.full((2, 2, 3), index, np.uint8), "hole": np.eye(2, dtype=bool), "skipped": epoch}


def indices(found):
    return [batch["image"][:, 0, 0, 0].tolist() for batch in found]


def test_a_batch_is_what_the_loop_takes():
    (batch,) = itertools.islice(batches(Numbered(10), 4), 1)
    assert batch["image"].shape == (4, 2, 2, 3) and batch["image"].dtype == torch.uint8
    assert batch["hole"].shape == (4, 2, 2) and batch["hole"].dtype == torch.bool
    assert batch["skipped"].shape == (4,)


def test_an_epoch_is_a_permutation_another_one_each_time():
    epochs = [sum(indices(batches(Numbered(12), 4, epoch)), []) for epoch in range(5)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 5
    assert sum(indices(batches(Numbered(12, seed=1), 4, 0)), []) != epochs[0]


@pytest.mark.parametrize(("length", "batch", "world"), [(24, 4, 2), (25, 4, 3), (7, 1, 7), (17, 2, 4)])
def test_the_ranks_part_an_epoch(length, batch, world):
    shares = [indices(batches(Numbered(length), batch, 3, rank=rank, world=world)) for rank in range(world)]
    steps = steps_per_epoch(Numbered(length), batch, world)
    assert [len(share) for share in shares] == [steps] * world
    seen = sum(sum(shares, []), [])
    assert len(seen) == len(set(seen)) == steps * batch * world
    assert length - len(seen) < batch * world


def test_the_steps_of_a_world_are_those_of_one_process_with_the_whole_batch():
    """So that a run can go on with another number of processes and see the same samples."""
    whole = indices(batches(Numbered(24), 8))
    halves = zip(*(indices(batches(Numbered(24), 4, rank=rank, world=2)) for rank in range(2)), strict=True)
    assert [sum(pair, []) for pair in halves] == whole


def test_it_begins_at_any_step_and_goes_on_over_epochs():
    every = indices(itertools.islice(batches(Numbered(10), 3, 4, epochs=None), 8))
    assert every[3:] == indices(itertools.islice(batches(Numbered(10), 3, 5, epochs=None), 5))
    assert every[4:6] == indices(batches(Numbered(10), 3, 5, start=1))
    assert len(indices(batches(Numbered(10), 3, 0, start=2, epochs=2))) == 4
    assert indices(batches(Numbered(10), 3, 0, start=3)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(workers, tmp_path):
    colours = {f"{i}.png": encoded(np.full((20, 20, 3), 20 * i, np.uint8)) for i in range(12)}
    alone = TrainingSet(open_pictures(folder_of(tmp_path / "f", colours)), 16, seed=3)
    helped = TrainingSet(open_pictures(tar_of(tmp_path / "f.tar", colours)), 16, seed=3)
    a, b = list(batches(alone, 4, 1, 1)), list(batches(helped, 4, 1, 1, workers=workers))
    assert len(a) == len(b) == 2
    assert all(torch.equal(x[key], y[key]) for x, y in zip(a, b, strict=True) for key in x)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_picture_is_refused_as_what_it_is(workers):
    found = batches(Numbered(8, bad=(5,)), 2, workers=workers)
    with pytest.raises(PictureError, match=r"5\.jpg") as caught:
        list(found)
    assert caught.value.slug == "image_corrupt"


def test_a_worker_that_dies_ends_training_with_the_cause():
    with pytest.raises(SystemRefusal, match="died") as caught:
        list(batches(Numbered(8, killed=5), 2, workers=1))
    assert caught.value.slug == "worker_died"


def test_fewer_pictures_than_one_step_are_refused_before_any_work():
    with pytest.raises(UsageError, match="7 pictures are fewer") as caught:
        batches(Numbered(7), 2, world=4)
    assert caught.value.slug == "too_few_pictures"
