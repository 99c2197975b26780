"""Load through a balancer with Locust: which replica and which version answers, and is that as expected?

    locust -f deploy/locustfile.py --host http://localhost:8080 --headless --users 5 --run-time 30s --expect v2=10%+-3

Each user asks for /whoami ten times a second. In Locust's own tables and files, the name is the replica, and the type
is its version. The exit code is 1 if an expectation does not hold. docs/load.md says more.
"""

import re
from argparse import ArgumentTypeError, Namespace
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from locust import FastHttpUser, constant_throughput, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import WorkerRunner
from locust.stats import StatsEntry

NONE = "(none)"  # has no version, and is the replica of failures that no replica has signed
SHARE = re.compile(r"(.+)=([\d.]+)%?(?:(?:±|\+-)([\d.]+)%?)?")


class Share(NamedTuple):
    """What a version is expected to give, in percent."""

    version: str
    percent: float
    margin: float


def share(text: str) -> Share:
    """As `yinyang watch --expect` understands it."""
    found = SHARE.fullmatch(text)
    if not found:
        raise ArgumentTypeError(f"{text} is not a share such as v2=10%+-3")
    return Share(found[1], float(found[2]), float(found[3] or 5))


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser) -> None:
    """The names are those of `yinyang watch`, where it has the same."""
    group = parser.add_argument_group("Load on replicas of yinyang")
    group.add_argument(
        "--connection",
        choices=["new", "same"],
        default="new",
        help="open a new connection for each request, without cookies, or have each user keep both",
    )
    group.add_argument("--expect", type=share, action="append", default=[], help="share of a version, as v2=10%%+-3")
    group.add_argument("--expect-replicas", type=int, help="exactly so many replicas answer")
    group.add_argument("--max-failed", type=float, default=0, help="percentage of requests that may fail")


class Client(FastHttpUser):
    """Asks who answers."""

    wait_time = constant_throughput(10)
    network_timeout = 3
    connection_timeout = 3

    @task
    def whoami(self) -> None:
        path, headers = "/whoami?keep=1", {}
        if self.environment.parsed_options.connection == "new":
            path, headers = "/whoami", {"Connection": "close"}
            self.client.cookiejar.clear()
        with self.client.get(path, headers=headers, catch_response=True) as response:
            told: Mapping[str, str] = response.headers or {}
            response.request_meta["name"] = told.get("X-Served-By", NONE)
            response.request_meta["request_type"] = told.get("X-Version", NONE)
            if response.ok and "X-Served-By" not in told:
                response.failure("not an answer of a replica")


class Outcome(NamedTuple):
    """An expectation, and what was seen."""

    expected: str
    seen: str
    holds: bool


def outcomes(options: Namespace, total: StatsEntry, answers: Counter[str], replicas: int) -> Iterator[Outcome]:
    """All that is expected; `answers` are those of each version."""
    answered = answers.total()
    yield Outcome("an answer", f"{answered} answers", answered > 0)
    failed = 100 * total.num_failures / max(total.num_requests, 1)
    yield Outcome(
        f"at most {options.max_failed:g} % of requests to fail", f"{failed:.1f} %", failed <= options.max_failed
    )
    if options.expect_replicas is not None:
        yield Outcome(f"{options.expect_replicas} replicas", f"{replicas}", replicas == options.expect_replicas)
    for version, percent, margin in options.expect:
        given = 100 * answers[version] / max(answered, 1)
        expected = f"{version} to give {percent:g} % of the answers, give or take {margin:g}"
        yield Outcome(expected, f"{given:.1f} % of {answered}", abs(given - percent) <= margin)


def rows(title: str, requests: Counter[str], failures: Counter[str]) -> Iterator[str]:
    """A table of requests, failures and shares of the answers."""
    width = max(len(title), *map(len, requests))
    answered = (requests - failures).total()
    yield f"\n{title:{width}}  requests  failed    share"
    for name in sorted(requests):
        part = 100 * (requests[name] - failures[name]) / max(answered, 1)
        yield f"{name:{width}}  {requests[name]:8}  {failures[name]:6}  {part:5.1f} %"


@events.quitting.add_listener
def judge(environment: Environment, **_: object) -> None:
    """Say what was seen. With workers, this is the part of the master, which has the sums."""
    options, total = environment.parsed_options, environment.stats.total
    if options is None or isinstance(environment.runner, WorkerRunner):
        return
    requests: dict[str, Counter[str]] = {"version": Counter(), "replica": Counter()}
    failures: dict[str, Counter[str]] = {"version": Counter(), "replica": Counter()}
    for (replica, version), entry in environment.stats.entries.items():
        for by, name in ("version", version), ("replica", replica):
            requests[by][name] += entry.num_requests
            failures[by][name] += entry.num_failures
    print(f"\n{total.num_requests} requests, {total.total_rps:.1f}/s, {total.num_failures} failed")
    half, most = (total.get_response_time_percentile(part) for part in (0.5, 0.95))
    print(f"half of the answers within {half:g} ms, 95 % within {most:g} ms")
    for by, asked in requests.items():
        print(*rows(by, asked, failures[by]), sep="\n")
    print()
    answers = {by: asked - failures[by] for by, asked in requests.items()}
    found = list(outcomes(options, total, answers["version"], len(answers["replica"])))
    for expected, seen, holds in found:
        print(f"{'✓' if holds else '✗'} expected {expected}, seen: {seen}")
    environment.process_exit_code = 0 if all(one.holds for one in found) else 1
