"""`kernels`: what the compiled kernels compute, judged three ways, and whether they compute it twice alike."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor

from cmgan.bench.gpu.plan import Measurement, Plan, Record
from cmgan.bench.gpu.report import header, row
from cmgan.bench.gpu.roofline import Rates
from cmgan.kernels.catalogue import Arguments, Entry, Shape, entries, listed, moved, widened
from cmgan.kernels.tolerances import three_way

EVEN, RAGGED = (2, 64, 32, 32), (2, 37, 9, 11)  # N, C, H, W: a true layer's alignment, and none


@dataclass(frozen=True)
class Case:
    """A kernel on one shape; `numbers` is a row of `tolerances.FLOORS`."""

    entry: Entry
    shape: Shape
    numbers: str
    device: str

    @property
    def name(self) -> str:
        return f"{self.entry.name}, {'x'.join(map(str, self.shape))}, {self.numbers}"

    def arguments(self) -> Arguments:
        torch.manual_seed(0)
        dtype = torch.float32 if self.numbers == "tf32" else getattr(torch, self.numbers)
        arguments = moved(self.entry.arguments(self.shape, dtype), self.device)
        return [*arguments[:-1], True] if self.numbers == "tf32" else arguments

    def run(self) -> list[Tensor]:
        return listed(self.entry.op(*self.arguments()))

    def judge(self) -> Record:
        """The worst of the outputs, as a record."""
        torch.backends.cudnn.allow_tf32 = self.numbers == "tf32"
        arguments = self.arguments()
        ours, theirs = listed(self.entry.op(*arguments)), listed(self.entry.composite(*arguments))
        exact = listed(self.entry.composite(*widened(arguments)))
        results = [
            three_way(a, b, c, "float32" if a.dtype == torch.float32 != arguments[0].dtype else self.numbers)
            for a, b, c in zip(ours, theirs, exact, strict=True)
        ]
        worst = max(results, key=lambda c: (not c.passed, c.error / c.limit if c.limit else 0.0))
        return {f"largest_{k}": v for k, v in asdict(worst).items()} | {"passed": all(c.passed for c in results)}

    def repeat(self, repetitions: int) -> Record:
        """The same bits every time; memory that a kernel leaves unwritten holds NaN."""
        arguments = self.arguments()
        torch.use_deterministic_algorithms(True, warn_only=True)  # fills new tensors with NaN
        try:
            first = [x.clone() for x in listed(self.entry.op(*arguments))]
            again = (listed(self.entry.op(*arguments)) for _ in range(repetitions))
            different = sum(not all(map(torch.equal, first, outputs)) for outputs in again)
        finally:
            torch.use_deterministic_algorithms(False)
        finite = all(bool(x.isfinite().all()) for x in first)
        return {"runs": repetitions, "different": different, "passed": finite and not different}


def measurements(plan: Plan, rates: Rates) -> list[Measurement]:
    """First every signature is compiled, in many processes; then come the errors, then the repetitions."""
    every = cases(plan.device)
    with ProcessPoolExecutor(plan.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_compile, range(len(every)), [plan.device] * len(every)))
    judged = [Measurement(case.name, case.judge) for case in every]
    repeated = [case for case in every if case.numbers == "bfloat16"]
    times = plan.repetitions
    return judged + [Measurement(f"{c.name}, {times} times", partial(c.repeat, times)) for c in repeated]


def _compile(index: int, device: str) -> None:
    """Leave the kernel in Triton's cache. What fails here fails again where it is measured, by name."""
    try:
        cases(device)[index].run()
    except Exception:
        return


def cases(device: str) -> list[Case]:
    """Every kernel on each shape in every type; those with products in TF32, too."""
    found = []
    for entry in entries():
        for shape in (EVEN, RAGGED):
            types = ("bfloat16", "float16", "float32", *(["tf32"] if entry.matrix else []))
            found += [Case(entry, shape, numbers, device) for numbers in types]
    return found


def table(records: list[Record]) -> list[str]:
    """The largest errors beside what is allowed."""
    judged = [r for r in records if "largest_error" in r]
    lines = header("kernel", "largest error", "PyTorch's own", "limit", "passed")
    for r in judged:
        values = r["largest_error"], r["largest_eager_error"], r["largest_limit"]
        lines.append(row(r["name"], *values, "yes" if r["passed"] else "**no**"))
    return lines if judged else []
