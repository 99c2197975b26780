"""The command line of the watch."""

import argparse
import math
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from yinyang import __version__
from yinyang.watch.goal import MIN_ANSWERS, WINDOW
from yinyang.watch.groups import ALL_BY, By
from yinyang.watch.share_texts import DEFAULT_MARGIN, ExpectedShare, LeastShare, expected_share, least_share, percent

SECONDS_PER_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
EXIT_USAGE = 2  # as that of argparse
MAX_CONCURRENCY = 1000
MAX_PORT = 65535
MAX_RATE = 1e6  # requests per second

EPILOG = """\
A duration is a number with ms, s, m or h, such as 500ms, 1s or 2m.

exit codes:
  0    All expectations hold. One is always there: if anything was asked, something was answered.
  1    Some do not hold. All expectations are listed on stderr, with a mark for whether they hold.
  2    The command line is wrong, httpx or rich is not installed, the port of --metrics is taken, the file of --junit
       cannot be written, or the environment names a proxy or certificates that cannot be used (ALL_PROXY, HTTP_PROXY,
       HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR). Or a login is needed: before any replica answered, and with
       no user in the URL, there was a 401, a 403 or a redirect.
  130  Ctrl-C (143: SIGTERM) before --duration, --count or --until was reached. Without these, Ctrl-C is the normal end,
       and the exit code is 0 or 1.
"""


@dataclass(frozen=True)
class Options:
    """What the command line asks for; times in seconds, shares from 0 to 1, and None where there is no limit.

    url: of whoami.
    display_url: the same without a password.
    rate: requests per second.
    concurrency: the largest number of requests at the same time.
    keep_alive: whether connections are used for several requests.
    """

    url: str
    display_url: str
    rate: float
    concurrency: int
    keep_alive: bool
    timeout: float
    duration: float | None
    count: int | None
    json: bool
    jsonl: bool
    junit: str | None
    metrics_port: int | None
    insecure: bool
    by: By
    expect_replicas: int | None
    max_errors: int | None
    max_gap: float | None
    max_p99: float | None
    min_share: float | None
    expected_shares: tuple[ExpectedShare, ...]
    until: LeastShare | None


def parse_options(arguments: list[str]) -> Options:
    """Read the command line; raises SystemExit with code 2 if it is wrong, and with 0 after --help or --version."""
    given = _make_parser().parse_args(arguments)
    keep_alive = given.connection == "same"
    url, display_url = whoami_url(given.url, keep_alive)
    return Options(
        url=url,
        display_url=display_url,
        rate=given.rate,
        concurrency=given.concurrency,
        keep_alive=keep_alive,
        timeout=given.timeout,
        duration=given.duration,
        count=given.count,
        json=given.json,
        jsonl=given.jsonl,
        junit=given.junit,
        metrics_port=given.metrics,
        insecure=given.insecure,
        by=given.by,
        expect_replicas=given.expect_replicas,
        max_errors=given.max_errors,
        max_gap=given.max_gap,
        max_p99=given.max_p99,
        min_share=given.min_share,
        expected_shares=tuple(given.expect),
        until=given.until,
    )


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="yinyang-watch",
        description="Shows what a load balancer does: asks through it again and again which replica answers.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("url", metavar="URL", type=_url, help="where the replicas are served, such as http://localhost:8080/")
    add(
        "--rate",
        type=_rate,
        default=10.0,
        metavar="N",
        help="send N requests per second, at random times (default: 10)",
    )
    add(
        "--concurrency",
        type=_concurrency,
        default=8,
        metavar="N",
        help="at most N at the same time, but no more than the watch itself has time for, so that latencies are those "
        "of the replicas (default: 8)",
    )
    add(
        "--connection",
        choices=("new", "same"),
        default="new",
        help="open a new connection for each request, or keep as many as --concurrency says and choose one of them at "
        "random (default: new)",
    )
    add("--timeout", type=duration, default=3.0, metavar="TIME", help="give up a request after TIME (default: 3s)")
    add(
        "--duration",
        type=duration,
        metavar="TIME",
        help="send requests for TIME, then wait for their answers, each for --timeout at most (default: until Ctrl-C)",
    )
    add("--count", type=_positive_integer, metavar="N", help="end after N requests")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print only one JSON object, at the end")
    output.add_argument(
        "--jsonl", action="store_true", help="print only a JSON object for each request, after one about the run"
    )
    add("--metrics", type=_port, metavar="PORT", help="serve http://127.0.0.1:PORT/metrics for Prometheus meanwhile")
    add(
        "--by",
        choices=ALL_BY,
        default="replica",
        help="show and expect shares of replicas, or of all with the same version, zone or node (default: replica)",
    )
    add("--insecure", action="store_true", help="accept any TLS certificate")
    add("--version", action="version", version=f"yinyang-watch {__version__}", help="show the version and exit")
    add = parser.add_argument_group("expectations, for pipelines").add_argument
    add("--expect-replicas", type=_positive_integer, metavar="N", help="exactly N replicas answer")
    add("--max-errors", type=_integer, metavar="N", help="at most N requests fail")
    add("--max-gap", type=duration, metavar="TIME", help="no failure leaves a gap without an answer longer than TIME")
    add("--max-p99", type=duration, metavar="TIME", help="99 %% of answers take at most TIME")
    add(
        "--min-share",
        type=percent,
        metavar="PERCENT",
        help="each replica (or group, with --by) gives at least PERCENT of the answers; those that left do not count, "
        "and answers count from when the latest came",
    )
    add(
        "--expect",
        type=expected_share,
        action="append",
        default=[],
        metavar="NAME=SHARE",
        help="a replica or group gives this share of all answers: 'v2=10%%+-3' with --by version means 7 to 13 %%; "
        f"without a margin, it is {100 * DEFAULT_MARGIN:g} points; may be given more than once",
    )
    add(
        "--until",
        type=least_share,
        metavar="'NAME >= SHARE'",
        help=f"end when a replica or group has given this share of the answers of the last {WINDOW:g} s, at least "
        f"{MIN_ANSWERS}, such as 'v2 >= 99%%' with --by version; it is an expectation, so where --duration or --count "
        "comes first, the exit code is 1",
    )
    add(
        "--junit",
        type=_writable_file,
        metavar="FILE",
        help="write the expectations to FILE as JUnit XML, which GitLab shows with `artifacts: reports: junit:`; "
        "GitHub shows those that do not hold without it, where GITHUB_ACTIONS is true",
    )
    return parser


def whoami_url(url: str, keep_alive: bool) -> tuple[str, str]:
    """The URL of `whoami` below that of the replicas, and the same as it is displayed: without password and query."""
    parts = urlsplit(url)
    path = parts.path if parts.path.endswith("/whoami") else parts.path.rstrip("/") + "/whoami"
    host = parts.netloc.rpartition("@")[2]
    query = parts.query
    if keep_alive and ("keep", "1") not in parse_qsl(query):
        query = "&".join(filter(None, [query, urlencode({"keep": 1})]))
    return urlunsplit((parts.scheme, parts.netloc, path, query, "")), urlunsplit((parts.scheme, host, path, "", ""))


def duration(text: str) -> float:
    """The seconds in `500ms`, `1s` or `2m`; raises argparse.ArgumentTypeError for other text."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)(ms|s|m|h)", text, re.ASCII)
    if not found or not float(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration, such as 500ms, 1s or 2m")
    return float(found[1]) * SECONDS_PER_UNIT[found[2]]


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not text.isprintable() or " " in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a URL, such as http://localhost:8080/")
    return text


def _rate(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= MAX_RATE:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and up to a million")
    return number


def _integer(text: str) -> int:
    if not re.fullmatch(r"\d{1,15}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _positive_integer(text: str) -> int:
    number = _integer(text)
    if number == 0:
        raise argparse.ArgumentTypeError("it must be at least 1")
    return number


def _port(text: str) -> int:
    number = _positive_integer(text)
    if number > MAX_PORT:
        raise argparse.ArgumentTypeError(f"it must be at most {MAX_PORT}")
    return number


def _writable_file(path: str) -> str:
    try:
        with open(path, "a"):
            return path
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path!r} cannot be written: {error.strerror}") from None


def _concurrency(text: str) -> int:
    number = _positive_integer(text)
    if number > MAX_CONCURRENCY:
        raise argparse.ArgumentTypeError(f"it must be at most {MAX_CONCURRENCY}")
    return number
