"""What only a GPU can tell: `python -m cmgan.bench.gpu COMMAND -o FOLDER`, four commands in any order.

Each is complete in itself, takes at most eight minutes, and leaves at most four files in the folder, written anew after
every measurement; the report is printed at the end. Needs torch, triton and a checkout; no network. `--rehearse` runs
the same code on a CPU, small: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cmgan.bench.gpu.plan import real, rehearsal
from cmgan.errors import MissingError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m cmgan.bench.gpu", description=__doc__)
    parser.add_argument("command", choices=("kernels", "models", "layers", "training"))
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the report")
    parser.add_argument("--seconds", type=float, default=440, help="after which what is missing stays so")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, small, to try the check itself")
    options = parser.parse_args()
    import torch

    if not options.rehearse and not torch.cuda.is_available():
        message = "this check needs an NVIDIA GPU that PyTorch sees; --rehearse tries the check itself"
        raise MissingError("cuda", message)
    from cmgan.bench.gpu.run import run

    return run(options.command, rehearsal() if options.rehearse else real(), options.output, options.seconds)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MissingError as error:
        print(error.line(), file=sys.stderr)
        sys.exit(error.exit_code)
