"""The C++ program beside the Python engine, in turns, each in a process of its own; prints a table in Markdown.

python examples/cpp/bench.py ENGINE [--program build/cpp/onnxruntime/cmgan-inpaint] [--threads 2] [--turns 20]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 3
COLUMNS = ("process_ms", "open_ms", "first_ms", "p50_ms", "peak_mb")
PROGRAMS = {".onnx": "onnxruntime", ".xml": "openvino", ".pt2": "aoti"}

# The same measurements as tool/bench.cpp.
PYTHON = """
import json, resource, sys, time
start = time.perf_counter()
import numpy as np
from PIL import Image
from cmgan import open_engine
from cmgan.runtime.engine import EngineOptions
path, image, mask, threads, turns = sys.argv[1:]
engine = open_engine(path, EngineOptions(threads=int(threads)))
opened = time.perf_counter()
image, mask = (np.array(Image.open(name))[None] for name in (image, mask))
z = np.random.default_rng(0).standard_normal((1, engine.info.z_dim), np.float32)
times = []
for _ in range(int(turns) + 1):
    before = time.perf_counter()
    engine(image, mask, z)
    times.append(1000 * (time.perf_counter() - before))
first, times = times[0], sorted(times[1:])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
facts = {"open_ms": 1000 * (opened - start), "first_ms": first, "p50_ms": times[(len(times) - 1) // 2], "peak_mb": peak}
print(json.dumps(facts))
"""


def measured(command: list[str], turns: int) -> dict[str, float]:
    """What the process says of `turns` pictures, and the wall time of one that paints a single one after its first."""
    start = time.perf_counter()
    subprocess.run([*command, "1"], check=True, capture_output=True)
    wall = 1000 * (time.perf_counter() - start)
    done = subprocess.run([*command, str(turns)], check=True, capture_output=True, text=True)
    return {"process_ms": wall, **json.loads(done.stdout)}


def pictures(resolution: int, folder: Path) -> tuple[str, str]:
    """The sample photograph and mask in the engine's size."""
    from PIL import Image

    examples = Path(__file__).parents[1]
    size = (resolution, resolution)
    Image.open(examples / "photo.jpg").convert("RGB").resize(size).save(folder / "photo.png")
    Image.open(examples / "mask.png").convert("L").resize(size).save(folder / "mask.png")
    return str(folder / "photo.png"), str(folder / "mask.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--program", type=Path, help="default: what `make cpp` built for the engine's suffix")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--turns", type=int, default=20)
    arguments = parser.parse_args()
    built = Path(__file__).parents[2] / "build" / "cpp" / PROGRAMS.get(arguments.engine.suffix, "") / "cmgan-inpaint"
    program, engine = str(arguments.program or built), str(arguments.engine)
    facts = json.loads(subprocess.run([program, "--info", engine], check=True, capture_output=True).stdout)
    with tempfile.TemporaryDirectory() as folder:
        photo, mask = pictures(facts["resolution"], Path(folder))
        commands = {
            "C++": [program, engine, photo, mask, "--threads", arguments.threads, "--bench"],
            "Python": [sys.executable, "-c", PYTHON, engine, photo, mask, arguments.threads],
        }
        rows: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, command in commands.items():
                rows[name].append(measured(command, arguments.turns))
    print(f"{arguments.engine.name}, {facts['name']}, {arguments.threads} threads, medians of {ROUNDS} rounds\n")
    print("| | " + " | ".join(COLUMNS) + " |\n|---|" + "---|" * len(COLUMNS))
    for name, rounds in rows.items():
        print(f"| {name} | " + " | ".join(f"{statistics.median(r[c] for r in rounds):.1f}" for c in COLUMNS) + " |")


if __name__ == "__main__":
    main()
