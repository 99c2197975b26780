"""Checks what the user expects of the balancer against what was seen."""

from dataclasses import dataclass

from yinyang.watch.metrics import Metrics
from yinyang.watch.options import Options


@dataclass(frozen=True)
class Expectation:
    """What was expected and what was seen, in words, and whether they agree."""

    expected: str
    seen: str
    holds: bool


def check_expectations(options: Options, metrics: Metrics, now: float) -> list[Expectation]:
    """Check each expectation that the options state, and always that somebody answers; `now` in seconds."""
    failures = ", ".join(f"{failure.count} {name}" for name, failure in metrics.failures.items()) or "none"
    requests = _plural(metrics.samples, "request")
    results = [_check_answers(metrics, f"none to {requests} ({failures})")]
    if options.expect_replicas is not None:
        results.append(_check_replicas(options.expect_replicas, list(metrics.replicas)))
    if options.max_errors is not None:
        expected = f"at most {_plural(options.max_errors, 'error')}"
        seen = f"{metrics.errors} of {requests} ({failures})"
        results.append(Expectation(expected, seen, metrics.errors <= options.max_errors))
    if options.max_gap is not None:
        results.append(_check_gap(options.max_gap, metrics.gaps.longest(now)))
    if options.min_share is not None:
        results.append(_check_share(options.min_share, metrics))
    return results


def _check_answers(metrics: Metrics, none: str) -> Expectation:
    holds = metrics.answers > 0 or metrics.samples == 0
    return Expectation("an answer", _plural(metrics.answers, "answer") if holds else none, holds)


def _check_replicas(number: int, hosts: list[str]) -> Expectation:
    names = f": {', '.join(hosts)}" if hosts else ""
    return Expectation(f"exactly {_plural(number, 'replica')}", f"{len(hosts)}{names}", len(hosts) == number)


def _check_gap(limit: float, longest: float | None) -> Expectation:
    seen = f"one of {longest:.3f} s" if longest else "no gap"
    return Expectation(f"no gap longer than {limit:g} s", seen, (longest or 0.0) <= limit)


def _check_share(limit: float, metrics: Metrics) -> Expectation:
    expected = f"each replica gives at least {100 * limit:g} % of the answers"
    if not metrics.replicas:
        return Expectation(expected, "no answer", False)
    smallest = min(metrics.replicas.values(), key=metrics.share)
    share = metrics.share(smallest)
    return Expectation(expected, f"{smallest.replica.host} {100 * share:.1f} %", share >= limit)


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
