"""Random changes of what the discriminator sees, against slicing picture by picture."""

import torch

from cmgan.train.augment import Augmentation


def test_pictures_and_masks_move_together_as_rolled_and_flipped():
    torch.manual_seed(0)
    picture = torch.rand(6, 3, 32, 32)
    change = Augmentation.drawn(picture)
    assert change.mirrored.any() and not change.mirrored.all()
    assert change.shifts.abs().max() <= 4 and change.shifts.unique().numel() > 3
    moved = change.moved(picture)
    for i in range(6):
        expected = picture[i].flip(2) if change.mirrored[i] else picture[i]
        assert moved[i].equal(expected.roll(change.shifts[i].tolist(), (1, 2)))
    assert change.moved(picture[:, :1]).equal(moved[:, :1])


def test_colours_change_as_much_as_they_may_and_structure_stays():
    torch.manual_seed(1)
    picture = torch.rand(64, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    change = Augmentation.drawn(picture)
    seen = change(picture)
    shift = seen.mean((1, 2, 3)) - picture.mean((1, 2, 3))
    assert 0.25 < shift.abs().max() <= 0.3
    spread = [x.mean(1).flatten(1).std(dim=1) for x in (seen, picture)]  # of the grey picture
    ratio = spread[0] / spread[1]
    assert 0.5 <= ratio.min() < 0.6 and 1.4 < ratio.max() <= 1.5
    seen.sum().backward()
    assert picture.grad is not None and picture.grad.isfinite().all()
