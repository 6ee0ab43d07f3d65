"""Every picture with each of its holes through every method, and the numbers of it."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cmgan.errors import MissingError, about, needs, warn
from cmgan.evaluate.fillings import FILLINGS
from cmgan.evaluate.metrics import score
from cmgan.evaluate.painters import Painter, baseline, engine_painter
from cmgan.evaluate.pictures import Collection, collection_pairs, find_pairs, load_hole, load_square
from cmgan.evaluate.report import MODEL
from cmgan.inpaint.inpainter import check_seed
from cmgan.runtime.engine import Engine

if TYPE_CHECKING:
    from cmgan.features.extractors import Extractor

_BATCH = 4  # fillings at a time
_SHEET_ROWS = 12
_PACKAGES = ("skimage", "sklearn")


@dataclass(frozen=True)
class EvaluationRequest:
    """What to judge an engine on, and beside what."""

    images: Path  # a folder of pictures, or where `collection` is from
    masks: Path
    collection: Collection | None = None  # takes the place of the folder's pictures
    by_name: bool = False  # else every mask with every picture
    seed: int = 0  # of the engine's z, and of the bootstrap
    baselines: tuple[str, ...] = tuple(FILLINGS)


@dataclass(frozen=True)
class Pair:
    """One filling: `picture` and `mask` are names of files, `scores` method -> metric -> number."""

    picture: str
    mask: str
    hole: float  # share of the picture
    scores: dict[str, dict[str, float]]


@dataclass
class Findings:
    """What the fillings gave, in the order of the pairs; rows of `sheet` have the pictures of `columns`."""

    methods: tuple[str, ...]
    pairs: list[Pair] = field(default_factory=list)
    picture_of: list[int] = field(default_factory=list)  # pair -> index of its picture
    truths: dict[str, list[np.ndarray]] = field(default_factory=dict)  # extractor -> a pooled feature (D,) a picture
    fakes: dict[tuple[str, str], list[np.ndarray]] = field(default_factory=dict)  # extractor, method -> one a pair
    sheet: list[list[np.ndarray]] = field(default_factory=list)
    set_sha256: str = ""  # of the pictures and holes as the engine got them

    @property
    def columns(self) -> tuple[str, ...]:
        """Titles of the picture sheet."""
        return ("input", *self.methods, "truth")


def open_extractors(wanted: Sequence[str] | None, device: str = "cpu") -> list[Extractor]:
    """The extractors named, see `extractors.open_extractor`; None: EfficientNet-Lite2 where it is installed.

    Raises:
        MissingError: torch or the packages of one that is named are missing.
        UsageError, ModelError: as `open_extractor`.
    """
    if wanted is not None:
        return [_open_extractor(name, device) for name in wanted]
    try:
        return [_open_extractor("lite2", device)]
    except MissingError as error:
        warn("features_missing", f"no distances of features: {error}")
        return []


def _open_extractor(name: str, device: str) -> Extractor:
    with needs("a distance of features", "cmgan[torch,eval]"):
        from cmgan.features.extractors import open_extractor
    return open_extractor(name, device)


def evaluate(
    engine: Engine, request: EvaluationRequest, extractors: Sequence[Extractor], step: Callable[[str], object]
) -> Findings:
    """Fill every hole with every method and score it. `step` is told of every picture.

    Raises:
        UsageError: seed, baseline, and those of `find_pairs` and `collection_pairs`.
        PictureError: a picture or mask is unusable: a set is judged whole or not at all.
        MissingError: a package of the extra `eval` is missing.
    """
    check_seed(request.seed)
    _check_packages()
    painters = {name: baseline(name) for name in request.baselines} | {MODEL: engine_painter(engine)}
    if request.collection is not None:
        items = collection_pairs(request.collection, request.masks)
    else:
        items = find_pairs(request.images, request.masks, by_name=request.by_name)
    side, digest = engine.info.resolution, hashlib.sha256()
    hole_of = lru_cache(maxsize=512)(lambda path: load_hole(path, side))
    found = Findings(tuple(painters))
    shown = set(np.linspace(0, len(items) - 1, min(_SHEET_ROWS, len(items))).astype(int).tolist())
    for index, item in enumerate(items):
        step(item.name)
        with about(item.name):
            truth = load_square(item.read(), side)
        digest.update(truth.tobytes())
        judge = _Judge(found, extractors, truth, index)
        for start in range(0, len(item.masks), _BATCH):
            group = item.masks[start : start + _BATCH]
            holes = np.stack([hole_of(mask) for mask in group])
            digest.update(holes.tobytes())
            on_sheet = index % len(item.masks) - start if index in shown else -1
            judge.fill(painters, [(item.name, mask.name) for mask in group], holes, request.seed, on_sheet)
    found.set_sha256 = digest.hexdigest()
    return found


class _Judge:
    """Scores the fillings of one picture into `found`."""

    def __init__(self, found: Findings, extractors: Sequence[Extractor], truth: np.ndarray, index: int) -> None:
        self._found, self._truth, self._index = found, truth, index
        self._extractors = [(extractor, extractor.embed(truth[None])) for extractor in extractors]
        for extractor, embedding in self._extractors:
            if embedding.pooled is not None:
                found.truths.setdefault(extractor.name, []).append(embedding.pooled[0])

    def fill(
        self,
        painters: dict[str, Painter],
        names: list[tuple[str, str]],
        holes: np.ndarray,
        seed: int,
        on_sheet: int,
    ) -> None:
        """Fill (M, R, R) holes; the one of index `on_sheet`, if there is one, goes on the sheet."""
        first = len(self._found.pairs)
        seeds = range(seed + first, seed + first + len(holes))
        results = {method: paint(self._truth, holes, seeds) for method, paint in painters.items()}
        scores = {method: self._scores(method, pictures, holes) for method, pictures in results.items()}
        for i, (picture, mask) in enumerate(names):
            of_pair = {method: rows[i] for method, rows in scores.items()}
            self._found.pairs.append(Pair(picture, mask, float(holes[i].mean()), of_pair))
            self._found.picture_of.append(self._index)
        if 0 <= on_sheet < len(holes):
            blank = np.where(holes[on_sheet][..., None], np.uint8(128), self._truth)
            self._found.sheet.append([blank, *(pictures[on_sheet] for pictures in results.values()), self._truth])

    def _scores(self, method: str, pictures: np.ndarray, holes: np.ndarray) -> list[dict[str, float]]:
        rows = [score(self._truth, picture, hole) for picture, hole in zip(pictures, holes, strict=True)]
        for extractor, truth in self._extractors:
            embedding = extractor.embed(pictures)
            if truth.pooled is not None and embedding.pooled is not None:
                self._found.fakes.setdefault((extractor.name, method), []).extend(embedding.pooled)
            if truth.maps:
                whole, inside = (extractor.distances(truth, embedding, where) for where in (None, holes))
                for row, distance, in_hole in zip(rows, whole, inside, strict=True):
                    row[extractor.name], row[f"hole_{extractor.name}"] = float(distance), float(in_hole)
        return rows


def _check_packages() -> None:
    for name in _PACKAGES:
        if importlib.util.find_spec(name) is None:
            raise MissingError("eval", f"the metrics need {name}: pip install 'cmgan[eval]'")
