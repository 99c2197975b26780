"""Checks what the user expects of the balancer against what was seen."""

from collections.abc import Iterator
from dataclasses import dataclass

from yinyang.watch.goal import MIN_ANSWERS, WINDOW, Goal
from yinyang.watch.groups import ALL_BY, is_named
from yinyang.watch.metrics import Metrics
from yinyang.watch.options import Options
from yinyang.watch.share_texts import ExpectedShare


@dataclass(frozen=True)
class Expectation:
    """What was expected and what was seen, in words, and whether they agree."""

    expected: str
    seen: str
    holds: bool


def check_expectations(options: Options, metrics: Metrics, goal: Goal | None, now: float) -> list[Expectation]:
    """Check each expectation that the options state, and always that somebody answers; `now` in seconds."""
    return list(_check(options, metrics, goal, now))


def _check(options: Options, metrics: Metrics, goal: Goal | None, now: float) -> Iterator[Expectation]:
    failures = ", ".join(f"{failure.count} {name}" for name, failure in metrics.failures.items()) or "none"
    requests = _plural(metrics.samples, "request")
    yield _check_answers(metrics, f"none to {requests} ({failures})")
    if options.expect_replicas is not None:
        yield _check_replicas(options.expect_replicas, list(metrics.replicas))
    if options.max_errors is not None:
        expected = f"at most {_plural(options.max_errors, 'error')}"
        seen = f"{metrics.errors} of {requests} ({failures})"
        yield Expectation(expected, seen, metrics.errors <= options.max_errors)
    if options.max_gap is not None:
        yield _check_gap(options.max_gap, metrics.gaps.longest(now))
    if options.max_p99 is not None:
        yield _check_p99(options.max_p99, metrics.latencies.quantile(0.99))
    if options.min_share is not None:
        yield _check_min_share(options.min_share, metrics)
    for share in options.expected_shares:
        yield _check_share(share, metrics)
    if goal:
        yield _check_goal(goal, metrics)


def _check_answers(metrics: Metrics, none: str) -> Expectation:
    holds = metrics.answers > 0 or metrics.samples == 0
    return Expectation("an answer", _plural(metrics.answers, "answer") if holds else none, holds)


def _check_replicas(number: int, hosts: list[str]) -> Expectation:
    names = f": {', '.join(hosts)}" if hosts else ""
    return Expectation(f"exactly {_plural(number, 'replica')}", f"{len(hosts)}{names}", len(hosts) == number)


def _check_gap(limit: float, longest: float | None) -> Expectation:
    seen = f"one of {longest:.3f} s" if longest else "no gap"
    return Expectation(f"no gap longer than {limit:g} s", seen, (longest or 0.0) <= limit)


def _check_p99(limit: float, p99: float | None) -> Expectation:
    expected = f"99 % of answers within {1000 * limit:.10g} ms"
    if p99 is None:
        return Expectation(expected, "no answer", False)
    return Expectation(expected, f"within {1000 * p99:.3g} ms", p99 <= limit)


def _check_min_share(limit: float, metrics: Metrics) -> Expectation:
    """Those that left do not count, nor does the time before the latest came: a roll-out without a fault passes."""
    expected = f"each {metrics.by} gives at least {100 * limit:g} % of the answers"
    there = [name for name, group in metrics.groups.items() if not metrics.is_silent(group.replicas)]
    total = sum(metrics.present[name] for name in there)
    if not total:
        return Expectation(expected, "no answer", False)
    smallest = min(there, key=lambda name: metrics.present[name])
    share = metrics.present[smallest] / total
    return Expectation(expected, f"{smallest} {100 * share:.1f} % of {total}", share >= limit)


def _check_share(wanted: ExpectedShare, metrics: Metrics) -> Expectation:
    expected = f"{wanted.name} gives {100 * wanted.share:g} % of the answers, give or take {100 * wanted.margin:g}"
    if not (names := _groups_named(wanted.name, metrics)):
        return Expectation(expected, _absent(wanted.name, metrics), wanted.share <= wanted.margin)
    share = sum(metrics.share(metrics.groups[name]) for name in names)
    holds = abs(share - wanted.share) <= wanted.margin
    return Expectation(expected, f"{100 * share:.1f} % of {metrics.answers_without_cookie}", holds)


def _check_goal(goal: Goal, metrics: Metrics) -> Expectation:
    name, least = goal.wanted.name, 100 * goal.wanted.share
    expected = f"{name} to reach {least:g} % of the answers of the last {WINDOW:g} s"
    if goal.reached is not None:
        return Expectation(expected, f"reached after {goal.reached - metrics.begin:.1f} s", True)
    if not _groups_named(name, metrics):
        return Expectation(expected, _absent(name, metrics), False)
    enough = "" if goal.answers >= MIN_ANSWERS else f", and it takes {MIN_ANSWERS}"
    return Expectation(expected, f"{100 * goal.share:.1f} % of {goal.answers}{enough}", False)


def _groups_named(name: str, metrics: Metrics) -> list[str]:
    """The groups that a user means who says this name."""
    return [
        group.name
        for group in metrics.groups.values()
        if name == group.name or any(is_named(replica, metrics.by, name) for replica in group.replicas.values())
    ]


def _absent(name: str, metrics: Metrics) -> str:
    """That there is no group of this name, and which there are; and how to group, so that there is one."""
    seen = f"no {metrics.by} {name}, but {', '.join(metrics.groups)}" if metrics.groups else "no answer"
    for by in ALL_BY:
        if any(is_named(replica.replica, by, name) for replica in metrics.replicas.values()):
            return f"{seen}; it is a {by}: use --by {by}"
    return seen


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
