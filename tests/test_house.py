"""The house keeps its rules: nothing goes through the links at the top, no room names a higher one in a string."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINKS = ("kernels", "export", "bench")
# "cmgan.room.module:name" and "cmgan.room.module" as the whole of a string: what importlib and entry points take.
_MODULE = re.compile(r"cmgan(\.\w+)+(:\w+)?")


def floors() -> dict[str, int]:
    """Each room of the contract in pyproject.toml with its height; the ground is 0."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(c for c in contracts if c["type"] == "layers")["layers"]
    heights = enumerate(reversed(layers))
    return {room.strip(" ()"): height for height, layer in heights for room in re.split(r"[|:]", layer)}


def module_strings(source: str) -> list[str]:
    """The strings of a program that name a module of cmgan's."""
    constants = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return [text for text in constants if isinstance(text, str) and _MODULE.fullmatch(text)]


def upward(room: str, source: str) -> list[str]:
    heights = floors()
    named = [(text, re.split(r"[.:]", text)[1]) for text in module_strings(source)]
    return [text for text, other in named if heights.get(other, -1) > heights[room]]


def test_no_room_names_a_higher_room_in_a_string():
    faults = []
    for path in sorted((ROOT / "cmgan").rglob("*.py")):
        room = path.relative_to(ROOT / "cmgan").parts[0].removesuffix(".py")
        if room != "__init__":
            faults += [f"{path.relative_to(ROOT)}: {text}" for text in upward(room, path.read_text())]
    assert faults == []


def test_the_check_of_strings_can_fail():
    assert upward("runtime", 'BUILDER = "cmgan.export.targets.onnx:build"') == ["cmgan.export.targets.onnx:build"]
    assert upward("export", 'ENGINE = "cmgan.runtime.open"') == []


@pytest.mark.parametrize("link", LINKS)
def test_links_at_the_top_lead_into_the_package(link):
    assert (ROOT / link).is_symlink() and (ROOT / link).readlink() == Path("cmgan", link)


@pytest.mark.parametrize("command", [["--help"], ["info", "tiny-64"], ["doctor"], ["bench", "--formats", "none"]])
def test_no_command_imports_through_the_links(command):
    """From the repository's root, where `import bench` would make a second module of cmgan.bench."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from cmgan.cli.main import run; code = run({command!r});"
        f"print(sorted(set({LINKS!r}) & set(sys.modules)), code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=os.environ)
    expected = 2 if "none" in command else 0
    assert done.stdout.splitlines()[-1] == f"[] {expected}", done.stderr
