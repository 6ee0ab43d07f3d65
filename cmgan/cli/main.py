"""The command tree, and how every ending becomes an exit code and at most one line on stderr."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import traceback
import warnings
from typing import Annotated, Any

import typer

from cmgan import __version__
from cmgan.cli import bench, completion, evaluate, export, inpaint, masks, models, serve, train
from cmgan.cli.render import Terminal, terminal
from cmgan.errors import CmganError, SystemRefusal, UsageError, clipped

_EVERYWHERE = ("--debug", "-v", "--verbose", "-q", "--quiet")  # may stand anywhere on the line
_ClickException: type[Exception] = typer.BadParameter.__mro__[2]  # the base of every usage error that typer raises

app = typer.Typer(
    help="Fill holes in photographs with CM-GAN, and export it to engines that provably paint the same picture.",
    epilog="Exit codes: 0 done, 2 usage, 3 picture or mask, 4 model or engine, 5 something missing here, 6 refused by "
    "the system, 7 numbers wrong, 8 some items failed, 9 a deadline passed, 10 budget missed, 130 interrupted.",
    add_completion=False,  # its own option takes the name of the shell
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for module in (inpaint, serve, export, bench, train, evaluate, masks, models):
    module.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cmgan {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what is chosen and done.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    show_completion: Annotated[
        completion.Shell | None,
        typer.Option(
            "--show-completion",
            callback=completion.print_script,
            is_eager=True,
            help="Print what makes TAB complete in this shell: source <(cmgan --show-completion bash)",
        ),
    ] = None,
) -> None:
    """Options of every command."""
    terminal.configure(verbose=verbose, quiet=quiet)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run the command line; the exit code of the table in `cmgan.errors`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    warnings.filterwarnings("ignore", module=r"PIL\.")  # what Pillow remarks is in our own refusals and warnings
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    ordered = _global_options_first(completion.with_shell(arguments))
    terminal.configure(verbose=False, quiet=False)  # warnings of what ran before are not this command's
    try:
        try:
            return _call(ordered)
        finally:
            terminal.finish()
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more while leaving
        return 0
    except KeyboardInterrupt:
        return _refused(terminal, "cmgan: interrupted", 130, ordered)
    except CmganError as error:
        return _refused(terminal, error.line(), error.exit_code, ordered)
    except MemoryError:
        refusal = SystemRefusal("memory", "out of memory; a smaller picture or preset needs less")
        return _refused(terminal, refusal.line(), refusal.exit_code, ordered)
    except Exception as error:  # noqa: BLE001 - the last net: a bug is one line, too
        line = f"cmgan: error[internal]: {type(error).__name__}: {error}; a bug in cmgan, --debug shows where"
        return _refused(terminal, clipped(line), 1, ordered)


def _call(arguments: list[str]) -> int:
    if completion.asked():
        return completion.answer(app)
    try:
        outcome = typer.main.get_command(app)(arguments or ["--help"], prog_name="cmgan", standalone_mode=False)
        return outcome if isinstance(outcome, int) else 0
    except typer.Abort:
        raise KeyboardInterrupt from None
    except _ClickException as error:
        message = error.format_message().rstrip(".?").replace("Value error, ", "")  # type: ignore[attr-defined]
        raise UsageError("usage", f"{message}; see: {_help_of(error)}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.EDQUOT, errno.ENOMEM):
            raise SystemRefusal("system", f"the system refused: {error.strerror}") from error
        raise


def _help_of(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'cmgan'} --help"


def _global_options_first(arguments: list[str]) -> list[str]:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    early = [a for a in arguments[:end] if a in _EVERYWHERE]
    return early + [a for a in arguments[:end] if a not in _EVERYWHERE] + arguments[end:]


def _refused(shown: Terminal, line: str, code: int, arguments: list[str]) -> int:
    if "--debug" in arguments:
        traceback.print_exc()
    shown.error(line)
    return code
