"""Every command and every program in README.md and docs/ runs as it is written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.check


def _blocks(page: Path) -> list[tuple[str, str]]:
    return [(language, body) for language, body in _FENCE.findall(page.read_text()) if language in ("sh", "python")]


@pytest.mark.parametrize("page", [p for p in PAGES if _blocks(p)], ids=lambda p: p.name)
def test_a_page_runs_from_top_to_bottom(page, tmp_path):
    """In an empty folder with the examples in it; `cmgan` and `python` are those of this environment."""
    shutil.copytree(REPOSITORY / "examples", tmp_path / "examples")  # results are written beside the photo
    tools = tmp_path / ".bin"
    tools.mkdir()
    for name, command in (("cmgan", f"{sys.executable} {REPOSITORY}/cli.py"), ("python", sys.executable)):
        (tools / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (tools / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
    for language, body in _blocks(page):
        command = ["bash", "-euo", "pipefail", "-c", body] if language == "sh" else [sys.executable, "-c", body]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{page.name}:\n{body}\n{done.stdout}\n{done.stderr}"


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_options_on_the_pages_exist():
    """Also of the commands that are only shown."""
    shown = {
        (name, option)
        for page in PAGES
        for line in re.findall(r"^(?:\S+ \| )?cmgan .*$", page.read_text(), re.MULTILINE)
        for name in [line.split("cmgan ", 1)[1].split()[0]]
        for option in re.findall(r" (--[a-z-]+)", line)
    }
    assert shown
    for name in {name for name, _ in shown}:
        command = [sys.executable, str(REPOSITORY / "cli.py"), name, "--help"]
        environment = {**os.environ, "COLUMNS": "300", "NO_COLOR": "1"}
        text = subprocess.run(command, capture_output=True, text=True, env=environment).stdout
        for option in (option for other, option in shown if other == name):
            assert option in text, f"cmgan {name} has no {option}"
