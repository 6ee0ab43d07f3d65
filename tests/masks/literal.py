"""The mask kinds once more, straight from their description: every pixel is compared with every stroke. Slow."""

from __future__ import annotations

import math
import random

import numpy as np


def distances(points, size):
    """float (segments, R, R): from every pixel to every segment of a polyline; a point is a segment, too."""
    ends = list(zip(points[:-1], points[1:], strict=True)) or [(points[0], points[0])]
    (x0, y0), (x1, y1) = (np.array([pair[i] for pair in ends]).T[:, :, None, None] for i in (0, 1))
    dx, dy = x1 - x0, y1 - y0
    y, x = np.arange(size)[:, None], np.arange(size)
    share = np.clip(((x - x0) * dx + (y - y0) * dy) / np.maximum(dx**2 + dy**2, 1e-12), 0, 1)
    return np.sqrt((x - x0 - share * dx) ** 2 + (y - y0 - share * dy) ** 2)


def _rectangles(r, hole, size):
    for most, limit in ((9, size // 2), (4, size)):
        for _ in range(r.randint(0, most)):
            width, height = r.randrange(limit), r.randrange(limit)
            x, y = r.randrange(size) - width // 2, r.randrange(size) - height // 2
            hole[max(y, 0) : y + height, max(x, 0) : x + width] = True


def rectangles(r: random.Random, size: int) -> np.ndarray:
    hole = np.zeros((size, size), bool)
    _rectangles(r, hole, size)
    return hole


def free_form(r: random.Random, size: int) -> np.ndarray:
    hole = rectangles(r, size)
    diagonal = math.hypot(size, size)
    for _ in range(r.randint(0, 19)):
        x, y = r.uniform(0, size), r.uniform(0, size)
        points = [(x, y)]
        for i in range(r.randint(4, 17)):
            angle = r.uniform(2 * math.pi / 5 - 2 * math.pi / 15, 2 * math.pi / 5 + 2 * math.pi / 15)
            if i % 2 == 0:
                angle = 2 * math.pi - angle
            length = min(max(r.gauss(diagonal / 8, diagonal / 16), 0), diagonal / 4)
            x = min(max(x + length * math.cos(angle), 0), size)
            y = min(max(y + length * math.sin(angle), 0), size)
            points.append((x, y))
        hole |= (distances(points, size) <= r.uniform(12, 48) * size / 512 / 2).any(axis=0)
    return hole


def lama(r: random.Random, size: int, kind: str) -> np.ndarray:
    strokes, width, length, boxes, sides, weight, margin = {
        "thin": ((4, 70), 20, 100, (0, 0), (0, 0), 0, 0),
        "medium": ((4, 10), 100, 200, (1, 5), (30, 150), 0.3, 0),
        "thick": ((1, 5), 250, 450, (1, 4), (30, 300), 0.3, 10),
    }[kind]
    hole, scale = np.zeros((size, size), bool), size / 512
    if r.random() < weight / (1 + weight):
        for _ in range(r.randint(*boxes)):
            w, h = (r.randrange(int(sides[0] * scale), int(sides[1] * scale)) for _ in "wh")
            x, y = (r.randint(int(margin * scale), size - int(margin * scale) - side) for side in (w, h))
            hole[y : y + h, x : x + w] = True
        return hole
    for number in range(r.randint(*strokes)):
        x, y = r.uniform(0, size), r.uniform(0, size)
        for _ in range(r.randint(1, 5)):
            angle = r.randrange(4) * (1 if number % 2 else -1)
            step = (10 + r.uniform(0, length)) * scale
            to = min(max(x + step * math.sin(angle), 0), size), min(max(y + step * math.cos(angle), 0), size)
            hole |= distances([(x, y), to], size)[0] <= (5 + r.uniform(0, width)) * scale / 2
            x, y = to
    return hole
