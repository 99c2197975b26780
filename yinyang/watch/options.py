"""The command line of the watch."""

import argparse
import math
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}  # in seconds
MOST_AT_ONCE = 1000

EPILOG = """\
durations: a number with ms, s, m or h, as 500ms, 1s or 2m

exit codes:
  0    all expectations hold; one is always there: if anything was asked, something was answered
  1    some do not; each has a line on stderr
  2    used wrongly, or httpx or rich is not installed
  130  Ctrl-C (143: SIGTERM) before --duration or --count was reached; without either, that is how a watch ends, and
       its exit code is 0 or 1
"""


@dataclass(frozen=True)
class Options:
    """What was asked for; times in seconds, shares from 0 to 1, None where there is no limit."""

    url: str  # of whoami
    shown: str  # the same without a password
    rate: float
    concurrency: int
    keep: bool  # use connections again
    timeout: float
    duration: float | None
    count: int | None
    json: bool
    insecure: bool
    expect_replicas: int | None
    max_errors: int | None
    max_gap: float | None
    min_share: float | None


def parse(arguments: list[str]) -> Options:
    """Read the command line; bad use ends the program, with 2."""
    parser = argparse.ArgumentParser(
        prog="python -m yinyang.watch",
        description="Show what a load balancer does: ask through it which replica answers, again and again.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("url", metavar="URL", type=_url, help="where replicas are served, as http://localhost:8080/")
    add = parser.add_argument
    add("--rate", type=_positive, default=10.0, metavar="N", help="requests per second (default: 10)")
    add("--concurrency", type=_at_once, default=8, metavar="N", help="requests at the same time, at most (default: 8)")
    add(
        "--connection",
        choices=("new", "same"),
        default="new",
        help="a new connection for each request, or as many as --concurrency, used again at random (default: new)",
    )
    add("--timeout", type=seconds, default=3.0, metavar="TIME", help="what a request may take (default: 3s)")
    add("--duration", type=seconds, metavar="TIME", help="when to end (default: on Ctrl-C)")
    add("--count", type=_natural, metavar="N", help="after how many requests to end")
    add("--json", action="store_true", help="print nothing but one JSON object, at the end")
    add("--insecure", action="store_true", help="accept any certificate")
    expect = parser.add_argument_group("expectations, for pipelines")
    add = expect.add_argument
    add("--expect-replicas", type=_natural, metavar="N", help="exactly so many replicas answer")
    add("--max-errors", type=_whole, metavar="N", help="at most so many requests fail")
    add("--max-gap", type=seconds, metavar="TIME", help="no longer without an answer, around a failure")
    add("--min-share", type=_share, metavar="PERCENT", help="each replica gives at least so much of all answers")
    given = parser.parse_args(arguments)
    url, shown = whoami_url(given.url, keep=given.connection == "same")
    return Options(
        url=url,
        shown=shown,
        rate=given.rate,
        concurrency=given.concurrency,
        keep=given.connection == "same",
        timeout=given.timeout,
        duration=given.duration,
        count=given.count,
        json=given.json,
        insecure=given.insecure,
        expect_replicas=given.expect_replicas,
        max_errors=given.max_errors,
        max_gap=given.max_gap,
        min_share=given.min_share,
    )


def whoami_url(url: str, keep: bool) -> tuple[str, str]:
    """The URL to ask, and how to show it: `whoami` below the path, whether or not that ends in a slash."""
    parts = urlsplit(url)
    path = parts.path if parts.path.endswith("/whoami") else parts.path.rstrip("/") + "/whoami"
    place = parts.netloc.rpartition("@")[2]
    query = parts.query
    if keep and ("keep", "1") not in parse_qsl(query):
        query = "&".join(filter(None, [query, urlencode({"keep": 1})]))
    return urlunsplit((parts.scheme, parts.netloc, path, query, "")), urlunsplit((parts.scheme, place, path, "", ""))


def seconds(text: str) -> float:
    """A duration in seconds, from `500ms`, `1s` or `2m`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)(ms|s|m|h)", text, re.ASCII)
    if not found or not float(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no duration, such as 500ms, 1s or 2m")
    return float(found[1]) * UNITS[found[2]]


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as wrong:
        raise argparse.ArgumentTypeError(f"{text!r} is no URL: {wrong}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not text.isprintable() or " " in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no URL, such as http://localhost:8080/")
    return text


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0, and at most a million")
    return number


def _whole(text: str) -> int:
    if not re.fullmatch(r"\d{1,15}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def _natural(text: str) -> int:
    number = _whole(text)
    if number == 0:
        raise argparse.ArgumentTypeError("it must be at least 1")
    return number


def _at_once(text: str) -> int:
    number = _natural(text)
    if number > MOST_AT_ONCE:
        raise argparse.ArgumentTypeError(f"it must be at most {MOST_AT_ONCE}")
    return number


def _share(text: str) -> float:
    found = re.fullmatch(r"(\d{1,3}(?:\.\d+)?) ?%?", text, re.ASCII)
    if not found or float(found[1]) > 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no share, such as 20%")
    return float(found[1]) / 100
