"""The `cmgan` command by another name: `python -m cmgan`."""

from __future__ import annotations

from cmgan.cli import main

if __name__ == "__main__":
    main()
