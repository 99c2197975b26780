"""What the core tells of the samples of a watch."""

import json
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from watch.command import SCHEMA, check_shape
from watch.tallies import replica, tally_for
from yinyang import _core
from yinyang.watch.sample import DEFAULT_COLOURS, Replica

QUICK = settings(max_examples=50, deadline=None, derandomize=True)
NASTY = "<q\"uo'te>\\ & % \u65e5\u672c \U0001f600"  # in JSON, in XML, for Prometheus and for GitHub
LIMITS = (
    "--expect-replicas=2",
    "--max-errors=0",
    "--max-gap=1.5s",
    "--max-p99=2.5ms",
    "--min-share=10%",
    "--expect=b=12.5%+-2.25",
)
MARKS = [("\N{CHECK MARK}", "\N{BALLOT X}"), ("ok  ", "FAIL")]


def answer(tally: _core.Tally, moment: float, host: str, took: float = 0.0) -> None:
    tally.add(moment - took, moment, replica(host, "v1"))


def failing(*arguments: str) -> _core.Tally:
    """Two replicas in turn, 20 times; one fails four times at the end."""
    tally = tally_for("--rate", "2", *arguments)
    for number in range(20):
        answer(tally, 1.0 + number / 2, "ab"[number % 2], took=0.004)
    for number in range(4):
        tally.add(11.0, 11.0 + number / 2, replica("b"), "status 503")
    return tally


def report(tally: _core.Tally, now: float) -> dict:
    found = json.loads(tally.report(now, "count"))
    check_shape(found, SCHEMA)
    return found


def test_a_report_has_its_shape() -> None:
    assert report(tally_for(), 0.0)["verdict"]["kind"] == "nothing"
    found = report(failing("--by", "version", "--connection", "same", *LIMITS), 14.0)
    assert {key: found[key] for key in ("url", "connection", "seconds", "ended", "by", "asked_rate", "rate")} == {
        "url": "http://a/whoami",
        "connection": "same",
        "seconds": 14,
        "ended": "count",
        "by": "version",
        "asked_rate": 2,
        "rate": 1.714286,
    }
    assert (found["samples"], found["answers"], found["errors"]) == (24, 20, 4)
    assert found["replicas"][1] == {
        "host": "b", "short": "b", "version": "v1", "zone": None, "node": None, "colours": ["#808080", "#000000"],
        "start_ms": None, "answers": 10, "share": 0.5, "silent_for": 3.5, "silent": False,
    }  # fmt: skip
    [group] = found["groups"]
    assert (group["name"], group["replicas"], group["answers"], group["failures"]) == ("v1", ["a", "b"], 20, 4)
    assert found["failures"] == {"status 503": 4}
    assert found["gap"] == {"latest": 3.5, "longest": 3.5}
    assert found["latency"]["p99"] == pytest.approx(0.004, rel=0.0101)
    assert found["expectations"] == [
        {"expected": expected, "seen": seen, "holds": holds}
        for expected, seen, holds in failing("--by", "version", *LIMITS).expectations(14.0)
    ]


def test_shares_of_a_verdict() -> None:
    tally = tally_for()
    for number in range(40):
        answer(tally, number / 10, "aab"[number % 3])
    verdict = report(tally, 4.0)["verdict"]
    found = tally.verdict(4.0)
    assert verdict == {
        "kind": "turns",
        "words": found["headline"],
        "detail": found["detail"],
        "samples": found["samples"],
        "more": found["more"],
        "shares": {"a": [0.666667] * 3, "b": [0.333333] * 3},
    }


def test_a_line() -> None:
    tally = failing()
    verdict = tally.verdict(14.0)
    latency = f"{1000 * tally.latency(0.5):.3g} ms"
    assert tally.line(14.0) == (
        "14 s: 24 samples, 1.6/s; a 50 %, b 50 %; 4 status 503; gap 3.50 s, longest 3.50 s; "
        f"p50 {latency}, p99 {latency}; {verdict['headline']}; {verdict['detail']}"
    )
    assert tally_for().line(0.0) == "0 s: 0 samples, 0.0/s; no replica; no failure; waiting for the first answer"
    assert "; asked for 12.25/s, reached 0.0167/s; " in failing("--rate", "12.25").line(1440.0)


def test_a_line_names_eight() -> None:
    tally = tally_for()
    for number in range(100):
        answer(tally, number / 10, f"web-{number % 10}")
    assert "; web-0 10 %, web-1 10 %, " in tally.line(10.0)
    assert ", web-7 10 %, 2 more; no failure" in tally.line(10.0)


def test_a_line_says_who_is_silent() -> None:
    tally = tally_for()
    for number in range(100):
        answer(tally, number / 10, "a" if number % 2 or number > 50 else "b")
    assert "; b 26 % (silent), a 74 %; no failure; " in tally.line(10.0)


def test_expectations_that_hold_and_that_do_not() -> None:
    assert failing(*LIMITS).expectations(14.0) == [
        ("an answer", "20 answers", True),
        ("exactly 2 replicas", "2: a, b", True),
        ("at most 0 errors", "4 of 24 requests (4 status 503)", False),
        ("no gap longer than 1.5 s", "one of 3.500 s", False),
        ("99 % of answers within 2.5 ms", f"within {1000 * failing().latency(0.99):.3g} ms", False),
        ("each replica gives at least 10 % of the answers", "a 47.4 % of 19", True),  # since the latest came
        ("b gives 12.5 % of the answers, give or take 2.25", "50.0 % of 20", False),
    ]


def test_a_goal_takes_some_answers() -> None:
    tally = tally_for("--until", "b >= 50%")
    answer(tally, 1.0, "b")
    words = "b to reach 50 % of the answers of the last 20 s"
    assert tally.expectations(2.0)[-1] == (words, "100.0 % of 1, and it takes 20", False)
    for _ in range(20):
        answer(tally, 2.25, "b")
    assert tally.expectations(3.0)[-1] == (words, "reached after 2.3 s", True)


def test_expectations_of_nothing() -> None:
    assert tally_for().expectations(1.0) == [("an answer", "0 answers", True)]
    failed = tally_for(*LIMITS, "--until", "b >= 50%")
    failed.add(0, 1.0, failure="refused")
    assert [seen for _, seen, _ in failed.expectations(1.0)] == [
        "none to 1 request (1 refused)",
        "0",
        "1 of 1 request (1 refused)",
        "one of 1.000 s",
        *["no answer"] * 4,
    ]
    assert [holds for _, _, holds in failed.expectations(1.0)] == [False, False, False, True, *[False] * 4]
    assert not tally_for("--expect", "b=3%").expectations(1.0)[1][2]  # although that is within the margin


@pytest.mark.parametrize("unicode", [True, False])
def test_the_lines_at_the_end(unicode: bool) -> None:
    assert tally_for().closing(0.0, unicode, True) == ""
    holds, fails = MARKS[not unicode]
    tally = tally_for("--expect", "\u65e5\u672c=50%", "--max-errors", "3")
    answer(tally, 1.0, "\u65e5\u672c")
    lines = [
        f"{holds} expected an answer,                                    seen: 1 answer",
        f"{holds} expected at most 3 errors,                             seen: 0 of 1 request (none)",
        f"{fails} expected \u65e5\u672c gives 50 % of the answers, give or take 5, seen: 100.0 % of 1",
    ]
    assert tally.closing(1.0, unicode, False).splitlines() == lines
    assert tally.closing(1.0, unicode, True).splitlines() == [
        *lines,
        "::error title=yinyang.watch::expected \u65e5\u672c gives 50 %25 of the answers, give or take 5, "
        "seen: 100.0 %25 of 1",
    ]


def test_names_in_each_format() -> None:
    tally = tally_for("--expect", f"{NASTY}=10%", "--expect-replicas", "1")
    tally.add(0.0, 0.1, replica(NASTY, NASTY))
    found = report(tally, 1.0)
    assert (found["replicas"][0]["host"], found["groups"][0]["name"]) == (NASTY, NASTY)
    assert found["expectations"][1]["seen"] == f"1: {NASTY}"
    [suite] = ET.fromstring(tally.junit(1.0))
    assert suite.attrib == {
        "name": "yinyang.watch http://a/whoami", "tests": "3", "failures": "1", "errors": "0", "time": "1.000",
    }  # fmt: skip
    assert [(case.get("name"), case[0].tag, case[0].text or case[0].get("message")) for case in suite] == [
        ("an answer", "system-out", "1 answer"),
        ("exactly 1 replica", "system-out", f"1: {NASTY}"),
        (
            f"{NASTY} gives 10 % of the answers, give or take 5",
            "failure",
            f"expected {NASTY} gives 10 % of the answers, give or take 5, seen: 100.0 % of 1",
        ),
    ]
    quoted = NASTY.replace("\\", "\\\\").replace('"', '\\"')
    assert f'yinyang_watch_answers_total{{replica="{quoted}",version="{quoted}"}} 1\n' in tally.metrics(1.0)
    [command] = [line for line in tally.closing(1.0, True, True).splitlines() if line.startswith("::")]
    assert NASTY.replace("%", "%25") in command
    assert json.loads(_core.sample_line(0.0, 0.0, 0.1, replica(NASTY)))["host"] == NASTY


@QUICK
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
@example("\ufffe\uffff\x85\x7f\x1b")
def test_any_name(name: str) -> None:
    """Also where somebody passes on what is not printable."""
    tally = tally_for("--expect-replicas", "1")
    tally.add(0.0, 0.1, replica(name))
    report(tally, 1.0)
    kept = report(tally, 1.0)["replicas"][0]["host"]
    assert len(kept.encode()) <= 3 * 255
    assert not re.search("[\x00-\x1f\x7f-\x9f]", kept)
    ET.fromstring(tally.junit(1.0))
    json.loads(_core.sample_line(0.0, 0.0, 0.1, replica(name)))


def test_metrics() -> None:
    text = failing().metrics(14.0)
    for line in (
        "# TYPE yinyang_watch_answers_total counter",
        'yinyang_watch_answers_total{replica="a",version="v1"} 10',
        'yinyang_watch_failures_total{kind="status 503"} 4',
        'yinyang_watch_latency_seconds_bucket{le="0.0025"} 0',
        'yinyang_watch_latency_seconds_bucket{le="0.005"} 20',
        'yinyang_watch_latency_seconds_bucket{le="10"} 20',
        'yinyang_watch_latency_seconds_bucket{le="+Inf"} 20',
        "yinyang_watch_latency_seconds_sum 0.080000",
        "yinyang_watch_latency_seconds_count 20",
        "yinyang_watch_longest_gap_seconds 3.500000",
    ):
        assert f"{line}\n" in text
    assert "yinyang_watch_longest_gap_seconds 0.000000\n" in tally_for().metrics(1.0)


def test_the_lines_of_samples() -> None:
    options = _core.WatchOptions(["http://u:p@a/", "--rate", "0.5", "--timeout", "1500ms", "--by", "zone"])
    assert _core.run_line(options, 1795680000.123) == (
        '{"at": "2026-11-26T08:00:00.123Z", "url": "http://a/whoami", "connection": "new", "asked_rate": 0.5, '
        '"concurrency": 8, "timeout": 1.5, "by": "zone"}'
    )
    described = Replica("web-a", "a", "v1", DEFAULT_COLOURS, "north", start_ms=3)
    assert _core.sample_line(1795680000.007, 1.0, 1.0123457, described, "", 7, "web-b") == (
        '{"at": "2026-11-26T08:00:00.007Z", "ms": 12.346, "connection": 7, "cookie_of": "web-b", "host": "web-a", '
        '"short": "a", "version": "v1", "zone": "north", "node": null, "colours": ["#808080", "#000000"], '
        '"start_ms": 3}'
    )
    assert _core.sample_line(1795680000.0, 1.0, 2.0, replica("web-b"), "status 503") == (
        '{"at": "2026-11-26T08:00:00.000Z", "ms": 1000, "connection": 0, "failure": "status 503", "served_by": "web-b"}'
    )


@QUICK
@given(st.integers(1, 10**12))
@example(999_999)
@example(5_000)
@example(1_000_000)
def test_numbers(us: int) -> None:
    """A gap of this length, in all its forms."""
    seconds = us / 1e6
    gap = tally_for("--max-gap", "1s")
    gap.add(0, seconds, failure="refused")
    assert report(gap, seconds)["gap"]["longest"] == seconds
    assert f"yinyang_watch_longest_gap_seconds {seconds:.6f}\n" in gap.metrics(seconds)
    tolerance = 1e-9 * seconds
    assert float(gap.expectations(seconds)[1][1].split()[2]) == pytest.approx(seconds, abs=0.0005 + tolerance)
    [latest, longest] = re.findall(r"gap (\d+\.\d\d) s, longest (\d+\.\d\d) s", gap.line(seconds))[0]
    assert latest == longest
    assert float(latest) == pytest.approx(seconds, abs=0.005 + tolerance)


@QUICK
@given(st.integers(1, 10**9))
@example(9_996)
@example(99_960)
@example(1_234_567)
def test_significant_digits(us: int) -> None:
    """There is never an exponent."""
    tally = tally_for()
    answer(tally, 2000.0, "a", took=us / 1e6)
    [shown] = re.findall(r"p50 (\S+) ms", tally.line(3000.0))
    assert re.fullmatch(r"(0|[1-9]\d*)(\.\d*[1-9])?", shown)
    assert float(shown) == float(f"{1000 * tally.latency(0.5):.3g}")
