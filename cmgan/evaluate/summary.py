"""From the numbers of every pair to means, intervals, differences and distances of sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from cmgan.evaluate.bootstrap import Estimate, estimates
from cmgan.evaluate.distributions import frechet_distance, ids
from cmgan.evaluate.metrics import PAIR_METRICS, Metric, feature_metrics
from cmgan.evaluate.report import EVERY, MODEL, Report, Row
from cmgan.evaluate.run import EvaluationRequest, Findings
from cmgan.runtime.engine import EngineInfo

if TYPE_CHECKING:
    from cmgan.features.extractors import Extractor

_EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0)  # of hole ratios; a bin holds its upper edge
_FEWEST_SAMPLES = 2  # of which there is a covariance


def summarise(info: EngineInfo, request: EvaluationRequest, extractors: Sequence[Extractor], found: Findings) -> Report:
    """The report of an evaluation."""
    judges = [extractor.name for extractor in extractors if extractor.has_maps]
    metrics = tuple(metric for name in judges for metric in feature_metrics(name)) + PAIR_METRICS
    rows = [
        _row(found, metrics, method, name, chosen, request.seed)
        for name, chosen in _bins(found)
        for method in found.methods
    ]
    model = {key: value for key, value in asdict(info).items() if key not in ("details", "z_dim")}
    settings = {
        "images": request.images.name,
        "masks": request.masks.name,
        "by_name": request.by_name,
        "seed": request.seed,
        "set_sha256": found.set_sha256,
        "extractors": {extractor.name: extractor.about for extractor in extractors},
    }
    return Report(model, settings, metrics, tuple(rows), tuple(map(asdict, found.pairs)))


def _bins(found: Findings) -> Iterator[tuple[str, np.ndarray]]:
    """Names of the bins that hold pairs, and the indices of these."""
    ratios = np.array([pair.hole for pair in found.pairs])
    yield EVERY, np.arange(len(ratios))
    for low, high in zip(_EDGES, _EDGES[1:], strict=False):
        chosen = np.flatnonzero((ratios > low) & (ratios <= high))
        if len(chosen):
            yield f"{100 * low:.0f}-{100 * high:.0f} %", chosen


def _row(found: Findings, metrics: Sequence[Metric], method: str, name: str, chosen: np.ndarray, seed: int) -> Row:
    pictures = np.array(found.picture_of)[chosen]

    def values(of: str) -> np.ndarray:
        return np.array([[found.pairs[i].scores[of][metric.name] for metric in metrics] for i in chosen])

    def named(table: np.ndarray) -> dict[str, Estimate]:
        return dict(zip((metric.name for metric in metrics), estimates(table, pictures, seed), strict=True))

    own = values(method)
    others = [other for other in found.methods if other != method] if method == MODEL else []
    against = {other: named(own - values(other)) for other in others}
    return Row(
        method, name, len(chosen), len(set(pictures)), named(own), against, _sets(found, method, chosen, pictures)
    )


def _sets(found: Findings, method: str, chosen: np.ndarray, pictures: np.ndarray) -> dict[str, float]:
    """FID against the pictures of these pairs, each once; P-IDS and U-IDS of the pairs, in percent, of enough."""
    distances: dict[str, float] = {}
    once = np.unique(pictures)
    if len(once) < _FEWEST_SAMPLES:
        return distances
    for name, truths in found.truths.items():
        real, fake = np.stack(truths), np.stack([found.fakes[name, method][i] for i in chosen])
        distances[f"fid_{name}"] = frechet_distance(real[once], fake)
        if len(fake) > fake.shape[1]:
            distances[f"p_ids_{name}"], distances[f"u_ids_{name}"] = ids(real[pictures], fake)
    return distances
