"""The exit codes of the watch, and the words that go with them."""

import contextlib
import os
import sys

EXIT_OK = 0
EXIT_EXPECTATION_FAILED = 1
EXIT_USAGE = 2  # it was called wrongly, or where it cannot do what it is asked
EXIT_SIGNAL = 128  # plus the number of the signal


def complain(text: str) -> None:
    """Write to stderr. Whether that is possible changes no exit code."""
    try:
        print(text, end="", file=sys.stderr, flush=True)
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # for what Python still has to write
