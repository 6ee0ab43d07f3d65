"""An artefact that is built and not yet accepted: what each format's `build` gives to the gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cmgan.export.gate.cases import Case
from cmgan.runtime.metadata import Metadata

Progress = Callable[[str], None]  # called with what is being done
RAW = "raw"  # the raw RGB, a value inside pipeline graphs
# Runs a batch of cases: arrays by name, `output` and, of a pipeline graph, `RAW`.
Runner = Callable[[list[Case]], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Candidate:
    """How the artefact, or where it cannot run what it is built from, paints; and how it is written once it passed."""

    run: Runner
    run_hot: Callable[[], Runner]  # the same graph with hot weights, made when it is needed
    write: Callable[[Path, Metadata], tuple[Path, ...]]  # writes at that path; all files, the artefact last
    not_run_here: str = ""  # why the artefact itself cannot run on this machine
    range: Callable[[], str] = lambda: "not needed in fp32"  # the verdict of the range check; raises NumbersError
    largest_batch: int = 3
    details: dict[str, Any] = field(default_factory=dict)  # for the metadata
