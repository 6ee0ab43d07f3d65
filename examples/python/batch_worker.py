"""A worker that takes jobs off a queue and sends each to a running `cmgan serve`, a few at a time.

    python examples/python/batch_worker.py http://127.0.0.1:8080 jobs.jsonl results

A line of jobs.jsonl: {"image": "a.jpg", "mask": "a.png", "seed": 3}. A full queue (503) is waited for as long as the
server says; a job that cannot be done is reported and the others go on.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

AT_ONCE = 3


def work(client: httpx.Client, job: dict, target: Path) -> str:
    """One job; what became of it."""
    files = {name: Path(job[name]).read_bytes() for name in ("image", "mask")}
    for _ in range(20):
        answer = client.post("/api/v1/inpaint", files=files, data={"seed": job.get("seed", 0)})
        if answer.status_code != 503:
            break
        time.sleep(float(answer.headers.get("retry-after", 1)))
    if answer.status_code != 200:
        return f"{job['image']}: {answer.json()['error']}"
    target.write_bytes(answer.content)
    return f"{job['image']}: {target}"


def main(url: str, jobs: Path, results: Path) -> None:
    results.mkdir(exist_ok=True)
    listed = [json.loads(line) for line in jobs.read_text().splitlines() if line.strip()]
    targets = [results / f"{number:05d}.png" for number in range(len(listed))]
    with httpx.Client(base_url=url, timeout=90) as client, ThreadPoolExecutor(AT_ONCE) as pool:
        for line in pool.map(lambda pair: work(client, *pair), zip(listed, targets, strict=True)):
            print(line)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
