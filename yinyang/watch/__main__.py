"""The command, as far as it works without the libraries that the extra `watch` installs."""

import importlib
import sys

from yinyang.watch.options import parse_options

EXIT_USAGE = 2
LIBRARIES = ("httpx", "rich")


def main() -> int:
    """Watch until the duration or the count is reached, or a signal comes; returns the exit code."""
    options = parse_options(sys.argv[1:])
    for name in LIBRARIES:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            return _usage_error(f"{error.name} is not installed; install it with pip install 'yinyang-serve[watch]'")
    run = importlib.import_module("yinyang.watch.run")  # which needs them
    if message := run.url_error(options):
        return _usage_error(message)
    code: int = run.run(options)
    return code


def _usage_error(message: str) -> int:
    print(f"yinyang.watch: {message}", file=sys.stderr)
    return EXIT_USAGE


if __name__ == "__main__":
    raise SystemExit(main())
