"""Strokes, rectangles and LaMa's masks against their descriptions, pixel by pixel and in the distribution of holes."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from cmgan.masks.config import PUBLISHED
from cmgan.masks.strokes import Canvas, free_form, lama, rectangles, stroke
from tests.masks import literal

_SIZE = 64


def test_a_line_is_what_lies_within_half_its_width():
    """But for a diagonal of a pixel: corners of the drawn shape lie on whole pixels, and a pixel is drawn or not."""
    rng, slack = np.random.default_rng(0), math.sqrt(2)
    for _ in range(60):
        points = [tuple(p) for p in rng.integers(0, _SIZE, (int(rng.integers(2, 6)), 2)).tolist()]
        width = int(rng.integers(1, 25))
        canvas = Canvas(_SIZE)
        canvas.line(points, width)
        distance = literal.distances(points, _SIZE).min(axis=0)
        assert canvas.hole[distance <= width / 2 - slack].all()
        assert not canvas.hole[distance > width / 2 + slack].any()


def test_a_rectangle_has_its_pixels():
    canvas = Canvas(_SIZE)
    canvas.rectangle(-3, 60, 10, 10)
    canvas.rectangle(30, 10, 0, 20)
    expected = np.zeros((_SIZE, _SIZE), bool)
    expected[60:, :7] = True
    assert np.array_equal(canvas.hole, expected)


def test_strokes_zigzag_within_their_angles_and_lengths():
    size, rng = 512, np.random.default_rng(1)
    lengths = []
    for _ in range(200):
        points = np.array(stroke(rng, size, 17))
        assert points.shape == (18, 2) and points.min() >= 0 and points.max() <= size
        steps, inside = np.diff(points, axis=0), ((points > 0) & (points < size)).all(axis=1)[1:]
        angles = np.arctan2(steps[:, 1], steps[:, 0]) * np.where(np.arange(17) % 2, 1, -1)
        moved = inside & (np.hypot(*steps.T) > 1)  # neither stopped by the border nor of no length
        assert (abs(angles[moved] - 2 * math.pi / 5) <= 2 * math.pi / 15 * (1 + np.finfo(np.float32).eps)).all()
        lengths.extend(np.hypot(*steps[:1].T))  # the border stops few first steps
    assert max(lengths) <= math.hypot(size, size) / 4 * (1 + np.finfo(np.float32).eps)


def test_ends_are_rounded_to_whole_pixels():
    cut, whole = Canvas(_SIZE), Canvas(_SIZE)
    cut.line([(10.6, 20.4), (30.5, 40.9)], 5)
    whole.line([(11, 20), (30, 41)], 5)
    assert np.array_equal(cut.hole, whole.hole)


def test_free_form_masks_have_the_numbers_of_their_description(monkeypatch):
    """0 to 19 strokes of 4 to 17 segments, 12 to 48 pixels wide, of a mean length of an eighth of the diagonal."""
    drawn = []
    monkeypatch.setattr(Canvas, "line", lambda canvas, points, width: drawn.append((points, width)))
    rng, counts, lengths = np.random.default_rng(4), set(), []
    for _ in range(400):
        before = len(drawn)
        free_form(rng, 512, PUBLISHED)
        counts.add(len(drawn) - before)
    assert counts == set(range(20))
    assert {len(points) - 1 for points, _ in drawn} == set(range(4, 18))
    assert {width for _, width in drawn} == set(range(12, 49))
    for points, _ in drawn:
        x, y = points[0]
        if 128 < x < 384 and 182 < y:  # the first segment leads up, from here never beyond the border
            lengths.append(math.dist(*points[:2]))
    assert abs(np.mean(lengths) - math.hypot(512, 512) / 8) < 5 * math.hypot(512, 512) / 16 / math.sqrt(len(lengths))


@pytest.mark.check
@pytest.mark.parametrize("kind", ["rectangles", "free-form", "thin", "medium", "thick"])
def test_holes_are_as_large_as_those_of_the_description(kind):
    """Kolmogorov and Smirnov's distance between the two samples, which is exceeded once in a million times."""
    ours, theirs = {
        "rectangles": (lambda rng: rectangles(rng, _SIZE, PUBLISHED), lambda r: literal.rectangles(r, _SIZE)),
        "free-form": (lambda rng: free_form(rng, _SIZE, PUBLISHED), lambda r: literal.free_form(r, _SIZE)),
    }.get(kind, (lambda rng: lama(rng, _SIZE, kind), lambda r: literal.lama(r, _SIZE, kind)))
    rng, r = np.random.default_rng(2), random.Random(3)
    sample = np.sort([ours(rng).mean() for _ in range(2000)])
    expected = np.sort([theirs(r).mean() for _ in range(200)])
    at = np.concatenate((sample, expected))
    shares = [np.searchsorted(s, at, side="right") / len(s) for s in (sample, expected)]
    bound = math.sqrt(-math.log(1e-6 / 2) / 2 * (1 / len(sample) + 1 / len(expected)))
    assert abs(shares[0] - shares[1]).max() < bound
    spread = math.sqrt(sample.var() / len(sample) + expected.var() / len(expected))
    assert abs(sample.mean() - expected.mean()) < 5 * spread
