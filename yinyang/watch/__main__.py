"""The command, as far as it works without the libraries that the extra `watch` installs."""

import importlib
import io
import os
import sys

from yinyang._core import WatchOptions, version, watch_usage_text
from yinyang.watch.exits import EXIT_OK, EXIT_USAGE, complain

LIBRARIES = ("httpx", "rich")


def main() -> int:
    """Watch until the duration or the count is reached, or a signal comes; returns the exit code."""
    _open_standard_streams()
    for stream in sys.stdout, sys.stderr:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what a terminal of ASCII or Latin-1 cannot show
    try:
        options = WatchOptions(sys.argv[1:])
    except ValueError as error:
        return _usage_error(f"{error}")
    if options.action != "watch":
        help_is_asked_for = options.action == "help"
        print(watch_usage_text("yinyang-watch") if help_is_asked_for else f"yinyang-watch {version}\n", end="")
        return EXIT_OK
    if problem := _problem_with_file(options.junit):
        return _usage_error(problem)
    for name in LIBRARIES:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            return _usage_error(f"{error.name} is not installed; install it with pip install 'yinyang-serve[watch]'")
    run = importlib.import_module("yinyang.watch.run")  # which needs them
    code: int = run.run(options)
    return code


def _open_standard_streams() -> None:
    """Have those that are closed write nowhere, so that no socket takes their place."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


def _problem_with_file(path: str | None) -> str | None:
    """Why it cannot be written; None if it can, or if there is none."""
    if path is not None:
        try:
            with open(path, "a"):
                return None
        except OSError as error:
            return f"{path!r} cannot be written: {error.strerror}"
    return None


def _usage_error(message: str) -> int:
    complain(f"yinyang.watch: {message}\n")
    return EXIT_USAGE


if __name__ == "__main__":
    raise SystemExit(main())
