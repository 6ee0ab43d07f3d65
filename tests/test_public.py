"""What `import cmgan` shows: to people, to type checkers, and without PyTorch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import cmgan


def test_the_public_list_is_there_to_see():
    assert set(cmgan.__all__) <= set(dir(cmgan))
    assert all(getattr(cmgan, name) is not None for name in cmgan.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Inpaintr'"):
        cmgan.Inpaintr  # noqa: B018


def test_help_without_pytorch_and_a_sentence_for_what_needs_it():
    program = """
import sys
from pathlib import Path
sys.modules["torch"] = None
import pydoc, cmgan
text = pydoc.plain(pydoc.render_doc(cmgan))
assert "class Inpainter" in text and "from_pretrained(" in text, text
try:
    cmgan.from_pretrained("photos-256")
except cmgan.errors.MissingError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "needs torch, which is not installed: pip install 'cmgan[torch]'" in done.stdout


@pytest.mark.check
def test_types_are_seen_from_outside(tmp_path):
    """As a program of others: mypy follows the installed package's own annotations."""
    (tmp_path / "program.py").write_text("import cmgan\nreveal_type(cmgan.Inpainter)\nreveal_type(cmgan.open_engine)\n")
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", "program.py"]
    # mypy does not read the hook by which an editable installation is found.
    environment = {**os.environ, "MYPYPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert "-> cmgan.inpaint.inpainter.Inpainter" in done.stdout and "Any" not in done.stdout, done.stdout
