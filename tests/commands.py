"""Running the command line in tests."""

from __future__ import annotations

import subprocess
import sys

from backstride import cli

BACKSTRIDE = [sys.executable, "-m", "backstride"]


def process(*arguments, **options):
    options = {"capture_output": True, "text": True, "timeout": 120, "encoding": "utf-8"} | options
    return subprocess.run([*BACKSTRIDE, *arguments], **options)


def refused(capsys, *arguments):
    """The error line of a command line that cannot be used; there is nothing else on either stream."""
    try:
        status = cli.main(arguments)
    except SystemExit as stopped:  # argparse's way
        status = stopped.code
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert err.startswith("backstride: error: ")
    assert err.count("\n") == 1
    return err
