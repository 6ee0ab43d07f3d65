"""The `cmgan` command from a checkout: `python cli.py bench --res 512`."""

from cmgan.cli import main

if __name__ == "__main__":
    main()
