"""What a pipeline may expect of a balancer, and what was seen instead."""

from dataclasses import dataclass

from yinyang.watch.options import Options
from yinyang.watch.tally import Tally


@dataclass(frozen=True)
class Expectation:
    """In words: what was expected, and what was seen."""

    expected: str
    seen: str
    holds: bool


def check(options: Options, tally: Tally, now: float) -> list[Expectation]:
    """Each expectation that the options hold; and always that somebody answers."""
    errors = ", ".join(f"{failure.count} {name}" for name, failure in tally.failures.items()) or "none"
    found = [Expectation("an answer", f"none to {_plural(tally.samples, 'request')} ({errors})", False)]
    if tally.answers or not tally.samples:
        found = [Expectation("an answer", _plural(tally.answers, "answer"), True)]
    if options.expect_replicas is not None:
        names = f": {', '.join(tally.rows)}" if tally.rows else ""
        expected = f"exactly {_plural(options.expect_replicas, 'replica')}"
        found.append(Expectation(expected, f"{len(tally.rows)}{names}", len(tally.rows) == options.expect_replicas))
    if options.max_errors is not None:
        expected = f"at most {_plural(options.max_errors, 'error')}"
        seen = f"{tally.errors} of {_plural(tally.samples, 'request')} ({errors})"
        found.append(Expectation(expected, seen, tally.errors <= options.max_errors))
    if options.max_gap is not None:
        gap = tally.gaps.longest(now) or 0.0
        expected = f"no gap longer than {options.max_gap:g} s"
        found.append(Expectation(expected, f"one of {gap:.3f} s" if gap else "no gap", gap <= options.max_gap))
    if options.min_share is not None:
        found.append(_check_share(options.min_share, tally))
    return found


def _check_share(least: float, tally: Tally) -> Expectation:
    expected = f"each replica gives at least {100 * least:g} % of the answers"
    if not tally.rows:
        return Expectation(expected, "no answer", False)
    row = min(tally.rows.values(), key=tally.share)
    share = tally.share(row)
    return Expectation(expected, f"{row.replica.host} {100 * share:.1f} %", share >= least)


def _plural(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
