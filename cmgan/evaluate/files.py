"""The folder of an evaluation: figures for programs, tables for people, a picture sheet."""

from __future__ import annotations

from pathlib import Path

from cmgan.evaluate.report import Report, to_json, to_markdown
from cmgan.evaluate.run import Findings
from cmgan.evaluate.sheet import draw_sheet
from cmgan.files import atomic_folder


def write_evaluation(report: Report, found: Findings, folder: Path, *, overwrite: bool) -> list[Path]:
    """Write `evaluation.json`, `evaluation.md` and `sheet.png` into a new folder, whole or not at all.

    Raises:
        UsageError: the parent does not exist, or the folder does and `overwrite` is not given.
        SystemRefusal: it cannot be written.
    """
    with atomic_folder(folder, overwrite=overwrite) as temporary:
        (temporary / "evaluation.json").write_text(to_json(report), encoding="utf-8")
        (temporary / "evaluation.md").write_text(to_markdown(report), encoding="utf-8")
        draw_sheet(found.columns, found.sheet).save(temporary / "sheet.png")
    return sorted(folder.iterdir())
