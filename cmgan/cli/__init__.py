"""The `cmgan` command: parse, call, render. A file a family of commands; what is heavy is imported when it runs."""

from __future__ import annotations

from cmgan.cli.main import main as main
