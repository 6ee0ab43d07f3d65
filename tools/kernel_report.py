"""The static report: `python -m tools.kernel_report`, what each kernel needs and does on each architecture.

Compiled here, run nowhere: it shows spills, memory, matrix instructions and load widths, and no speed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import triton

from cmgan.files import write_atomically
from cmgan.kernels.catalogue import entries
from tools.kernel_aot import ARCHITECTURES, Static, compile_for, faults

SNAPSHOT = Path(__file__).with_name("kernel_static.json")

Row = tuple[str, int, Static, list[str]]  # entry of the catalogue, architecture, what was read, what is wrong with it


def measured(names: Iterable[str], architectures: Iterable[int], workers: int = 2) -> Iterator[Row]:
    """Compile the entries of those names for those architectures, in that order."""
    jobs = [(name, arch) for name in names for arch in architectures]
    with ProcessPoolExecutor(workers) as pool:
        for (name, arch), (static, wrong) in zip(jobs, pool.map(_job, jobs), strict=True):
            yield name, arch, static, wrong


def _job(job: tuple[str, int]) -> tuple[Static, list[str]]:
    entry = next(e for e in entries() if e.name == job[0])
    static = compile_for(entry, job[1])
    return static, faults(entry, job[1], static)


def load_snapshot(path: Path = SNAPSHOT) -> tuple[str, dict[tuple[str, int], Static]]:
    """The committed figures, and the version of Triton that they are of."""
    content = json.loads(path.read_text())
    rows = {(row.pop("kernel"), row.pop("arch")): Static(**row) for row in content["rows"]}
    return content["triton"], rows


def snapshot_json(rows: Iterable[Row]) -> str:
    """The snapshot's text, a line for each kernel and architecture."""
    lines = [json.dumps({"kernel": name, "arch": arch, **asdict(static)}) for name, arch, static, _ in rows]
    return f'{{"triton": "{triton.__version__}", "rows": [\n' + ",\n".join(lines) + "\n]}\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.kernel_report", description=__doc__)
    parser.add_argument("--kernel", default="", help="only kernels whose name starts so, for example 'epilogue'")
    parser.add_argument("--arch", type=int, choices=ARCHITECTURES, help="only this architecture")
    parser.add_argument("--write", action="store_true", help="make this the committed snapshot")
    options = parser.parse_args()
    if options.write and (options.kernel or options.arch):
        parser.error("a snapshot has every kernel and architecture: --write goes without --kernel and --arch")
    names = [e.name for e in entries() if e.name.startswith(options.kernel)]
    print("| kernel | sm | registers | stack | shared B | matrix | 128-bit copies | loads | stores | faults |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    rows = []
    for row in measured(names, [options.arch] if options.arch else ARCHITECTURES):
        name, arch, s, wrong = row
        cells = [name, arch, s.registers, s.stack, s.shared, s.matrix or "-", f"{s.wide_copies} of {s.copies}"]
        cells += [s.wide_loads, s.wide_stores, "; ".join(wrong) or "none"]
        print("|", *(f"{cell} |" for cell in cells), flush=True)
        rows.append(row)
    if options.write:
        write_atomically(SNAPSHOT, snapshot_json(rows).encode())


if __name__ == "__main__":
    main()
