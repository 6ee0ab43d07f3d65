"""Growing and feathering against their definitions, pixel by pixel."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cmgan.imaging.holes import CELL, find_holes
from cmgan.imaging.morphology import dilated, feather

shapes = st.tuples(st.integers(1, 24), st.integers(1, 24))
masks = shapes.flatmap(lambda shape: arrays(bool, shape, elements=st.booleans(), fill=st.just(False)))


@given(masks, st.integers(0, 30))
def test_dilated_is_its_definition(hole, reach):
    expected = np.zeros_like(hole)
    for y, x in zip(*np.nonzero(hole), strict=True):
        expected[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1] = True
    before = hole.copy()
    assert (dilated(hole, reach) == expected).all()
    assert (hole == before).all()


@given(masks, st.integers(0, 6))
def test_feather_is_its_definition(hole, reach):
    rng = np.random.default_rng(0)
    image, painted = rng.integers(0, 256, (2, *hole.shape, 3), dtype=np.uint8)
    known = np.argwhere(~hole)
    canvas = np.where(hole[..., None], painted, image)
    expected = canvas.copy()
    for y, x in np.argwhere(hole):
        distance = np.abs(known - (y, x)).max(axis=1).min() if len(known) else reach + 1
        if distance <= reach:
            exact = ((reach + 1 - distance) * image[y, x].astype(int) + distance * painted[y, x].astype(int)) / (
                reach + 1
            )
            expected[y, x] = np.floor(exact + 0.5)
    feather(canvas, image, hole, reach)
    assert (canvas == expected).all()


def test_feather_of_holes_whose_boxes_meet():
    """A ring with a spot inside: the spot's surroundings, not its box, decide."""
    hole = np.zeros((600, 600), bool)
    hole[10:590, 10:590] = True
    hole[50:550, 50:550] = False
    hole[299:302, 299:302] = True
    image, painted = np.zeros((600, 600, 3), np.uint8), np.full((600, 600, 3), 240, np.uint8)
    canvas = np.where(hole[..., None], painted, image)
    feather(canvas, image, hole, 3)
    assert (canvas[300, 300] == 120).all() and (canvas[299, 300] == 60).all()
    assert (canvas[10, 300] == 60).all() and (canvas[13, 300] == 240).all()
    assert not canvas[~hole].any()


def groups_of_cells(hole):
    """Bounding boxes by the definition: cells that touch, by relaxation over all pairs."""
    cells = sorted({(y // CELL, x // CELL) for y, x in np.argwhere(hole).tolist()})
    group = {cell: i for i, cell in enumerate(cells)}
    for _ in cells:
        for a in cells:
            for b in cells:
                if max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= 1:
                    group[a] = group[b] = min(group[a], group[b])
    boxes = set()
    for number in set(group.values()):
        pixels = np.array([p for p in np.argwhere(hole).tolist() if group[p[0] // CELL, p[1] // CELL] == number])
        (top, left), (bottom, right) = pixels.min(axis=0).tolist(), pixels.max(axis=0).tolist()
        boxes.add((left, top, right + 1, bottom + 1))
    return boxes


@settings(max_examples=50)
@given(st.tuples(st.integers(1, 500), st.integers(1, 500)), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_holes_are_the_groups_of_touching_cells(shape, count, seed):
    rng = np.random.default_rng(seed)
    hole = np.zeros(shape, bool)
    hole[rng.integers(0, shape[0], count), rng.integers(0, shape[1], count)] = True
    boxes = find_holes(hole)
    assert {(b.left, b.top, b.right, b.bottom) for b in boxes} == groups_of_cells(hole)
    assert len(boxes) == len(groups_of_cells(hole))
