"""The programs in examples/python run as they are written."""

import json
import os
import subprocess
import sys

import pytest

from tests.serve.conftest import REPOSITORY, decoded

pytestmark = pytest.mark.check
EXAMPLES = REPOSITORY / "examples"
PHOTO, MASK = EXAMPLES / "photo.jpg", EXAMPLES / "mask.png"


def run(name, *arguments, folder):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    line = [sys.executable, str(EXAMPLES / "python" / name), *map(str, arguments)]
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def hole_only(path):
    """Whether a result differs from the photograph in the hole, and only there."""
    after, before, hole = decoded(path.read_bytes()), decoded(PHOTO.read_bytes()), decoded(MASK.read_bytes()) >= 128
    return (after[~hole] == before[~hole]).all() and (after[hole] != before[hole]).any()


def test_the_service(tmp_path):
    assert "3 pictures" in run("service.py", PHOTO, MASK, "result.png", folder=tmp_path)
    assert hole_only(tmp_path / "result.png")


def test_the_batch_worker(command, tmp_path):
    running = command("--queue", 1, "--concurrency", 1)
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    jobs = [{"image": str(PHOTO), "mask": str(MASK), "seed": seed} for seed in range(5)]
    jobs.insert(2, {"image": "bad.jpg", "mask": str(MASK)})
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, jobs)))
    out = run("batch_worker.py", running.url, "jobs.jsonl", "results", folder=tmp_path)
    assert out.count(".png\n") == 5 and "bad.jpg: not a picture" in out
    assert all(hole_only(tmp_path / "results" / f"{number:05d}.png") for number in (0, 1, 3, 4, 5))


def test_triton_s_client(command, tmp_path):
    running = command()
    address = running.url.removeprefix("http://")
    assert "256 x 256" in run("triton_client.py", address, PHOTO, MASK, "result.png", folder=tmp_path)
    assert decoded((tmp_path / "result.png").read_bytes()).shape == (256, 256, 3)
