"""The command line: `backstride train | explain | info | bench | check | plan | warm | tune`, `python -m backstride`.

A command is a module of this package with HELP, add_arguments(parser) and run(arguments) -> exit status, named in
COMMANDS. What goes wrong is one line on stderr, `backstride: error: ...`; the exit status is 2 for a command line that
cannot be used, and 1 for a file that cannot be written or in which something is wrong.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from .._extras import MissingExtraError
from .._version import __version__
from ..backend import BackendUnavailableError
from .errors import CommandError, FileError
from .notices import add_verbosity, notices
from .signals import exit_status, termination_raises

COMMANDS = ("train", "explain", "info", "check", "bench", "plan", "warm", "tune")

_DESCRIPTION = """\
Convolution, pooling and fully connected layers with their gradients:
CUDA kernels through CuPy, the same answers on NumPy.
"""

_EXAMPLES = """\
examples:
  backstride train                                 learn handwritten digits, in seconds and without a GPU
  backstride train --save w.safetensors --plot training.png
  backstride explain                               every gradient of a network, beside finite differences
  backstride explain --term conv.dx 0,1,4,6        every product that adds up to one element of a gradient
  backstride explain --html page.html              the same as a page to click through
  backstride info                                  which backend is in force, and why

`backstride COMMAND --help` tells the options of a command. BACKSTRIDE_BACKEND (auto, numpy, cupy, compare) chooses the
backend where --backend does not.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"backstride: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own); returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without the sign for a sum gets a question mark
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
        if arguments.command is None:
            parser.print_help()
            return 0
        with notices(arguments), termination_raises():
            status: int = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except (CommandError, BackendUnavailableError, MissingExtraError) as error:
        print(f"backstride: error: {error}", file=sys.stderr)
        return getattr(error, "status", CommandError.status)
    except KeyboardInterrupt as interrupt:
        print("backstride: interrupted", file=sys.stderr)
        return exit_status(interrupt)
    except BrokenPipeError:  # the reader, such as `head`, has all it wants
        _drop_output()
        return 141
    except OSError as error:  # the disk under the standard output is full, say
        print(f"backstride: error: {error}", file=sys.stderr)
        _drop_output()
        return FileError.status


def _drop_output() -> None:
    """Have what is still to be written to the standard output go nowhere, without another error."""
    with suppress(OSError):  # it may be no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> _Parser:
    parser = _Parser(
        prog="backstride",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"backstride {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name in COMMANDS:
        module = importlib.import_module(f".{name}", __name__)
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.__doc__,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        module.add_arguments(command)
        add_verbosity(command)
        command.set_defaults(run=module.run)
    return parser
