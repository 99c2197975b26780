"""The command, as far as it works without the libraries that the extra `watch` installs."""

import importlib
import io
import sys

from yinyang.watch.options import EXIT_USAGE, parse_options

LIBRARIES = ("httpx", "rich")


def main() -> int:
    """Watch until the duration or the count is reached, or a signal comes; returns the exit code."""
    for stream in sys.stdout, sys.stderr:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what a terminal of ASCII or Latin-1 cannot show
    options = parse_options(sys.argv[1:])
    for name in LIBRARIES:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            return _usage_error(f"{error.name} is not installed; install it with pip install 'yinyang-serve[watch]'")
    run = importlib.import_module("yinyang.watch.run")  # which needs them
    code: int = run.run(options)
    return code


def _usage_error(message: str) -> int:
    print(f"yinyang.watch: {message}", file=sys.stderr)
    return EXIT_USAGE


if __name__ == "__main__":
    raise SystemExit(main())
