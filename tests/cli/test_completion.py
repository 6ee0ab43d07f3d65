"""TAB: in a real bash; and by the protocol that typer's scripts for zsh and fish speak."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import typer

from cmgan.cli.main import app
from cmgan.config import PRESETS, PresetName
from cmgan.formats import FORMATS, FormatName, Precision
from cmgan.imaging.mask import CHANNELS
from cmgan.inpaint.strategies import STRATEGIES
from cmgan.masks.draw import KINDS

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """An environment in which `cmgan` is that of this checkout, and a folder with one file in it."""
    folder = tmp_path_factory.mktemp("shell")
    (folder / "bin").mkdir()
    (folder / "bin/cmgan").write_text(f'#!/bin/sh\nexec {sys.executable} {REPOSITORY}/cli.py "$@"\n')
    (folder / "bin/cmgan").chmod(0o755)
    (folder / "photo.png").write_bytes(b"")
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return folder, {**os.environ, "PATH": path, "PYTHONPATH": str(REPOSITORY), "SHELL": "/bin/bash"}


def typed(shell, text):
    """What an interactive bash offers for `cmgan TEXT<TAB><TAB>`, or makes of it."""
    folder, environment = shell
    words = ["cmgan", *text.split(" ")]
    script = f"""
        source <(cmgan --show-completion)
        COMP_LINE='cmgan {text}' COMP_POINT=${{#COMP_LINE}} COMP_WORDS=({" ".join(f"'{w}'" for w in words)})
        COMP_CWORD={len(words) - 1}
        _cmgan_completion cmgan '{words[-1]}' '{words[-2]}'
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "--norc", "-c", script], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done
    return done.stdout.split()


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("inp", ["inpaint"]),
        ("inpaint --dil", ["--dilate"]),
        ("inpaint --hd ", list(STRATEGIES)),
        ("inpaint --mask-channel r", ["red"]),
        ("inpaint a.png b.png --model sm", ["small-512", "small-256"]),
        ("inpaint --model pho", ["photos-256"]),
        ("export -o out --format t", ["trt", "trt-rtx"]),
        ("export --precision ", list(get_args(Precision))),
        ("bench --formats eager,o", ["eager,onnx", "eager,openvino"]),
        ("bench --precision fp32,b", ["fp32,bf16"]),
        ("eval --baselines telea,nav", ["telea,navier-stokes"]),
        ("init x --preset ti", ["tiny-64"]),
        ("info ti", ["tiny-64"]),
        ("masks --kind th", ["thin", "thick"]),
        ("inpaint ", []),  # bash offers files then
        ("inpaint --model ./", []),
    ],
)
def test_bash(shell, text, offered):
    assert typed(shell, text) == offered


def test_commands_are_offered(shell):
    assert {"inpaint", "export", "bench", "train", "doctor"} <= set(typed(shell, ""))


@pytest.mark.check
@pytest.mark.parametrize(("name", "pressed"), [("bash", "bash"), ("zsh", "zsh"), ("fish", "fish")])
def test_each_shell_has_its_script_and_is_answered(shell, name, pressed):
    folder, environment = shell
    script = subprocess.run(["cmgan", "--show-completion", name], env=environment, capture_output=True, text=True)
    assert script.returncode == 0 and script.stderr == "" and f"complete_{name}" in script.stdout
    asked = {
        "_CMGAN_COMPLETE": f"complete_{name}",
        "COMP_WORDS": "cmgan inpaint --hd re",
        "COMP_CWORD": "3",
        "_TYPER_COMPLETE_ARGS": "cmgan inpaint --hd re",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    answer = subprocess.run(["cmgan"], cwd=folder, env={**environment, **asked}, capture_output=True, text=True)
    assert answer.returncode == 0 and answer.stderr == "" and "resize" in answer.stdout
    assert "crop" not in answer.stdout


def test_an_unknown_shell_is_refused(refused):
    assert "'bash', 'zsh', 'fish'" in refused(2, "--show-completion", "csh").err


def test_the_closed_choices_are_those_of_the_tables():
    assert get_args(PresetName) == tuple(PRESETS)
    assert get_args(FormatName) == tuple(FORMATS)
    assert set(get_args(Precision)) == {p for format in FORMATS.values() for p in format.precisions}
    commands = typer.main.get_command(app).commands
    for command, option, known in (
        ("inpaint", "strategy", STRATEGIES),
        ("inpaint", "mask_channel", CHANNELS),
        ("masks", "kind", KINDS),
    ):
        offered = next(p for p in commands[command].params if p.name == option)
        assert tuple(item.value for item in offered.shell_complete(None, "")) == tuple(known)
