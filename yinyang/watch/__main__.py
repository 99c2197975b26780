"""The command, as far as it works without the libraries that the extra `watch` installs."""

import importlib
import sys

from yinyang.watch.options import parse

EXIT_USAGE = 2
LIBRARIES = ("httpx", "rich")


def main() -> int:
    """Watch until all is asked, or until told to end; the exit code."""
    options = parse(sys.argv[1:])
    for name in LIBRARIES:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as missing:
            words = f"{missing.name} is not installed, which the watch needs: pip install 'yinyang-serve[watch]'"
            return _complain(words)
    run = importlib.import_module("yinyang.watch.run")
    if wrong := run.wrong_url(options):
        return _complain(wrong)
    code: int = run.run(options)
    return code


def _complain(words: str) -> int:
    print(f"yinyang.watch: {words}", file=sys.stderr)
    return EXIT_USAGE


if __name__ == "__main__":
    raise SystemExit(main())
