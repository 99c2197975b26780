"""The state of a watch as a line of text, and at its end as JSON.

The keys of the JSON object; times are in seconds, shares from 0 to 1, and what is not known is null:

    url           what was asked, without a password
    connection    "new" or "same"
    seconds       how long
    ended         "duration", "count", or "signal"
    samples       requests that were answered or failed
    answers       those that were answered
    errors        those that failed
    rate          samples per second
    replicas      in order of their first answers, for each:
        host, short, version, colours   as whoami tells them
        answers                         all of them
        share                           of the answers that no cookie led to a replica
        silent_for                      since its last answer
        silent                          whether that is too long for a replica that is still there
    failures      how many of each kind: "refused", "timed out", "reset", "closed", "status 502", "not whoami", ...
    gap           without an answer around failures: "latest" and "longest"; null if nothing failed
    latency       "p50" and "p99" of the answers, to 1 %
    verdict
        kind      "too few", "one replica", "even", "weighted", "sticky by connection", "sticky by cookie" or "unsteady"
        words     the verdict for people
        samples   how many it rests on
        shares    by host: [least, seen, greatest], where the share lies with a confidence of 99 % for all together
        chi_square, freedom, p          of equal shares, if that was tested
    expectations  for each: expected and seen, in words, and whether it holds
"""

from collections import Counter

from yinyang.watch.expectations import Expectation
from yinyang.watch.options import Options
from yinyang.watch.sample import Replica
from yinyang.watch.tally import Tally
from yinyang.watch.verdict import judge

NAMED = 8  # replicas that a line names


def report(
    options: Options, tally: Tally, now: float, ended: str, expectations: list[Expectation]
) -> dict[str, object]:
    """The object that `--json` prints."""
    verdict = judge(tally.evidence)
    return {
        "url": options.shown,
        "connection": "same" if options.keep else "new",
        "seconds": _rounded(now - tally.begin),
        "ended": ended,
        "samples": tally.samples,
        "answers": tally.answers,
        "errors": tally.errors,
        "rate": _rounded(tally.rate(now)),
        "replicas": [
            {
                "host": host,
                "short": row.replica.short,
                "version": row.replica.version,
                "colours": list(row.replica.colours),
                "answers": row.answers,
                "share": _rounded(tally.share(row)),
                "silent_for": _rounded(now - row.last),
                "silent": tally.evidence.is_silent(host),
            }
            for host, row in tally.rows.items()
        ],
        "failures": {name: failure.count for name, failure in tally.failures.items()},
        "gap": {"latest": _rounded(tally.gaps.latest(now)), "longest": _rounded(tally.gaps.longest(now))},
        "latency": {"p50": _rounded(tally.latencies.quantile(0.5)), "p99": _rounded(tally.latencies.quantile(0.99))},
        "verdict": {
            "kind": verdict.kind,
            "words": verdict.words,
            "samples": verdict.samples,
            "shares": {host: [_rounded(share) for share in shares] for host, shares in verdict.shares.items()},
            "chi_square": _rounded(verdict.chi_square),
            "freedom": verdict.freedom,
            "p": verdict.chance,
        },
        "expectations": [{"expected": one.expected, "seen": one.seen, "holds": one.holds} for one in expectations],
    }


def line(tally: Tally, now: float) -> str:
    """All of it, in one line."""
    names = names_of([row.replica for row in tally.rows.values()])
    rows = list(tally.rows.items())
    shares = [f"{names[host]} {100 * tally.share(row):.0f} %{_silence(tally, host)}" for host, row in rows[:NAMED]]
    if len(rows) > NAMED:
        shares.append(f"{len(rows) - NAMED} more")
    parts = [
        f"{now - tally.begin:.0f} s: {tally.samples} samples, {tally.pace(now):.1f}/s",
        ", ".join(shares) or "no replica",
        ", ".join(f"{failure.count} {name}" for name, failure in tally.failures.items()) or "no failure",
        *([gap] if (gap := gap_words(tally, now)) else []),
        *([latency] if (latency := latency_words(tally)) else []),
        judge(tally.evidence).words,
    ]
    return "; ".join(parts)


def gap_words(tally: Tally, now: float) -> str:
    """How long there was no answer; empty if nothing failed."""
    latest, longest = tally.gaps.latest(now), tally.gaps.longest(now)
    return "" if latest is None or longest is None else f"gap {latest:.2f} s, longest {longest:.2f} s"


def latency_words(tally: Tally) -> str:
    """How long answers took; empty if there is none."""
    half, most = tally.latencies.quantile(0.5), tally.latencies.quantile(0.99)
    return "" if half is None or most is None else f"p50 {1000 * half:.3g} ms, p99 {1000 * most:.3g} ms"


def names_of(replicas: list[Replica]) -> dict[str, str]:
    """What to call each, by host: the short name if that is its own."""
    times = Counter(replica.short for replica in replicas)
    return {replica.host: replica.short if times[replica.short] == 1 else replica.host for replica in replicas}


def _silence(tally: Tally, host: str) -> str:
    return " (silent)" if tally.evidence.is_silent(host) else ""


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 6)
