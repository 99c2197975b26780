"""The state of a watch as a line of text, and at its end as JSON.

The keys of the JSON object are these. Times are in seconds, shares from 0 to 1, and unknown values are null:

    url           the URL that was asked, without a password
    connection    "new" or "same"
    seconds       how long the watch took
    ended         why it ended: "duration", "count", "until" or "signal"
    samples       number of requests that were answered or failed
    answers       number of requests that were answered
    errors        number of requests that failed
    rate          samples per second
    asked_rate    what --rate asked for
    replicas      in order of their first answers, for each:
        host, short, version, zone, node, colours   as /whoami tells them
        answers                         number of its answers
        share                           its share of the answers to requests without a cookie
        silent_for                      time since its last answer
        silent                          whether that is too long for a replica that is still there
    by            what replicas of a group have in common: "replica", "version", "zone" or "node"
    groups        in order of their first answers, for each:
        name                            the version, zone or node; of a replica for itself, its host
        replicas                        hosts of its replicas, except those that are in another group by now
        answers, share, silent_for, silent      as those of a replica
        failures                        number of failures that named one of its replicas in X-Served-By
    failures      number of failures of each kind: "refused", "timed out", "reset", "closed", "status 502",
                  "not whoami", ...
    gap           time without an answer around failures: "latest" and "longest"; null if nothing failed
    latency       "p50" and "p99" of the answers, right to 1 %
    verdict
        kind      one of those in docs/verdict.md, such as "failing", "turns", "even" or "weighted"
        words     the verdict for people
        detail    what it rests on
        samples   number of samples that a verdict about shares rests on
        more      about how many more it takes to be sure
        shares    by name of a group: [smallest, seen, largest], the bounds of the share at 99 % for all together
    expectations  for each: "expected" and "seen", in words, and whether it "holds"
"""

from yinyang.watch.expectations import Expectation
from yinyang.watch.metrics import AnswerMetrics, Metrics
from yinyang.watch.options import Options
from yinyang.watch.verdict import Verdict

MAX_NAMED = 8  # replicas that a line names


def make_report(
    options: Options, metrics: Metrics, now: float, ended: str, expectations: list[Expectation]
) -> dict[str, object]:
    """The object that `--json` prints; `now` in seconds on the clock of samples."""
    p50, p99 = metrics.latencies.quantile(0.5), metrics.latencies.quantile(0.99)
    return {
        "url": options.display_url,
        "connection": "same" if options.keep_alive else "new",
        "seconds": _rounded(now - metrics.begin),
        "ended": ended,
        "samples": metrics.samples,
        "answers": metrics.answers,
        "errors": metrics.errors,
        "rate": _rounded(metrics.average_rate(now)),
        "asked_rate": metrics.asked_rate,
        "replicas": _replicas_report(metrics, now),
        "by": metrics.by,
        "groups": _groups_report(metrics, now),
        "failures": {name: failure.count for name, failure in metrics.failures.items()},
        "gap": {"latest": _rounded(metrics.gaps.latest(now)), "longest": _rounded(metrics.gaps.longest(now))},
        "latency": {"p50": _rounded(p50), "p99": _rounded(p99)},
        "verdict": _verdict_report(metrics.verdict(now)),
        "expectations": [{"expected": one.expected, "seen": one.seen, "holds": one.holds} for one in expectations],
    }


def _replicas_report(metrics: Metrics, now: float) -> list[dict[str, object]]:
    return [
        {
            "host": host,
            "short": replica.replica.short,
            "version": replica.replica.version,
            "zone": replica.replica.zone,
            "node": replica.replica.node,
            "colours": list(replica.replica.colours),
            **_answers_report(metrics, replica, now),
            "silent": metrics.is_silent([host]),
        }
        for host, replica in metrics.replicas.items()
    ]


def _groups_report(metrics: Metrics, now: float) -> list[dict[str, object]]:
    return [
        {
            "name": name,
            "replicas": list(group.replicas),
            **_answers_report(metrics, group, now),
            "silent": metrics.is_silent(group.replicas),
            "failures": group.failures,
        }
        for name, group in metrics.groups.items()
    ]


def _answers_report(metrics: Metrics, counted: AnswerMetrics, now: float) -> dict[str, object]:
    return {
        "answers": counted.answers,
        "share": _rounded(metrics.share(counted)),
        "silent_for": _rounded(now - counted.last),
    }


def _verdict_report(verdict: Verdict) -> dict[str, object]:
    return {
        "kind": verdict.kind,
        "words": verdict.words,
        "detail": verdict.detail,
        "samples": verdict.samples,
        "more": verdict.more,
        "shares": {name: [_rounded(share) for share in shares] for name, shares in verdict.shares.items()},
    }


def summary_line(metrics: Metrics, now: float) -> str:
    """The state in one line of text; `now` in seconds on the clock of samples."""
    verdict = metrics.verdict(now)
    parts = [
        f"{now - metrics.begin:.0f} s: {metrics.samples} samples, {metrics.current_rate(now):.1f}/s",
        _shares_text(metrics) or "no replica",
        ", ".join(f"{failure.count} {name}" for name, failure in metrics.failures.items()) or "no failure",
        gap_text(metrics, now),
        latency_text(metrics),
        rate_text(metrics, now),
        verdict.words,
        verdict.detail,
    ]
    return "; ".join(part for part in parts if part)


def gap_text(metrics: Metrics, now: float) -> str:
    """How long there was no answer; empty if nothing failed."""
    latest, longest = metrics.gaps.latest(now), metrics.gaps.longest(now)
    return "" if latest is None or longest is None else f"gap {latest:.2f} s, longest {longest:.2f} s"


def latency_text(metrics: Metrics) -> str:
    """How long answers took; empty if there is none."""
    p50, p99 = metrics.latencies.quantile(0.5), metrics.latencies.quantile(0.99)
    return "" if p50 is None or p99 is None else f"p50 {1000 * p50:.3g} ms, p99 {1000 * p99:.3g} ms"


def rate_text(metrics: Metrics, now: float) -> str:
    """Which rate was reached, if that is much less than was asked for; else empty."""
    if not metrics.is_slow(now):
        return ""
    return f"asked for {metrics.asked_rate:.10g}/s, reached {metrics.average_rate(now):.3g}/s"


def _shares_text(metrics: Metrics) -> str:
    names = metrics.display_names()
    groups = list(metrics.groups.values())
    shares = [
        f"{names[group.name]} {100 * metrics.share(group):.0f} %"
        f"{' (silent)' if metrics.is_silent(group.replicas) else ''}"
        for group in groups[:MAX_NAMED]
    ]
    if len(groups) > MAX_NAMED:
        shares.append(f"{len(groups) - MAX_NAMED} more")
    return ", ".join(shares)


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 6)
