"""The watch: what its verdicts claim, and the command against real replicas, alone and behind HAProxy."""

import contextlib
import errno
import fcntl
import importlib
import importlib.util
import io
import json
import os
import pty
import random
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from conftest import PATIENCE, Replica, Shape, clean_environment, missing, needs, read_all, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st

from yinyang import identify
from yinyang.watch import sample as samples
from yinyang.watch.chances import (
    bounds,
    chi_square_alike,
    chi_square_chance,
    chi_square_even,
    log_odds_against_even,
    silence_chance,
    whole_ratio,
)
from yinyang.watch.cookies import Cookies
from yinyang.watch.evidence import CHUNKS, CONNECTIONS_KEPT, Evidence
from yinyang.watch.options import parse, seconds, whoami_url
from yinyang.watch.sample import Sample, read_whoami
from yinyang.watch.tally import Gaps, Latencies, Tally
from yinyang.watch.verdict import ERROR, Verdict, judge, needed

pytestmark = pytest.mark.host

COMMAND = [sys.executable, "-m", "yinyang.watch", "--timeout", f"{PATIENCE:g}s"]
SEEDS = range(100)
QUICK = settings(max_examples=50, deadline=None, derandomize=True)


# Statistics


@pytest.mark.parametrize(
    ("statistic", "freedom", "chance"),
    [  # from printed tables of the distribution
        (3.841, 1, 0.05),
        (6.635, 1, 0.01),
        (5.991, 2, 0.05),
        (7.815, 3, 0.05),
        (11.345, 3, 0.01),
        (18.307, 10, 0.05),
        (31.410, 20, 0.05),
        (124.342, 100, 0.05),
        (149.449, 100, 0.001),
    ],
)
def test_chi_square_is_the_one_of_the_tables(statistic: float, freedom: int, chance: float) -> None:
    assert chi_square_chance(statistic, freedom) == pytest.approx(chance, rel=2e-3)


@QUICK
@given(st.floats(0, 500), st.floats(0, 500), st.integers(1, 200))
def test_chance_falls_with_the_statistic(one: float, other: float, freedom: int) -> None:
    less, more = sorted((one, other))
    assert 0 <= chi_square_chance(more, freedom) <= chi_square_chance(less, freedom) * (1 + 1e-9) <= 1 + 1e-9


def test_statistics_of_counts() -> None:
    assert chi_square_even([10, 20]) == pytest.approx(10 / 3)
    assert chi_square_alike([[10, 20], [20, 40]]) == (pytest.approx(0), 1)
    statistic, freedom = chi_square_alike([[10, 20], [20, 10]])
    assert (statistic, freedom) == (pytest.approx(20 / 3), 1)


@QUICK
@given(st.integers(0, 500), st.integers(1, 500))
def test_bounds_hold_what_was_seen_and_mirror(count: int, more: int) -> None:
    total = count + more
    low, high = bounds(count, total, 0.01)
    assert 0 <= low <= count / total <= high <= 1
    assert bounds(more, total, 0.01) == (pytest.approx(1 - high, abs=1e-9), pytest.approx(1 - low, abs=1e-9))
    wider = bounds(count, total, 0.001)
    assert wider[0] <= low <= high <= wider[1]
    longer = bounds(10 * count, 10 * total, 0.01)
    assert longer[1] - longer[0] < high - low


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_bounds_rarely_ever_miss_the_share(share: float) -> None:
    missed = 0
    for seed in SEEDS:
        draw, count = random.Random(seed), 0
        for total in range(1, 301):
            count += draw.random() < share
            low, high = bounds(count, total, 0.1)
            if not low <= share <= high:
                missed += 1
                break
    assert missed <= 0.1 * len(SEEDS)


@QUICK
@given(st.lists(st.integers(0, 200), min_size=2, max_size=6))
def test_even_counts_speak_least_against_even(counts: list[int]) -> None:
    cells = len(counts)
    whole = [sum(counts) // cells + (place < sum(counts) % cells) for place in range(cells)]
    assert log_odds_against_even(whole) <= log_odds_against_even(counts) + 1e-9


def test_odds_average_at_one_over_all_samples() -> None:
    """What makes them an e-value: betting on a fair game, one expects to keep the stake."""
    sides = [(ups, 8 - ups) for ups in range(9)]
    ways = [1, 8, 28, 56, 70, 56, 28, 8, 1]
    expected = sum(
        2.718281828459045 ** log_odds_against_even(side) * way for side, way in zip(sides, ways, strict=True)
    )
    assert expected / 2**8 == pytest.approx(1)


def test_silence() -> None:
    assert silence_chance(1, 1, 0) == 1
    assert silence_chance(10, 40, 20) == pytest.approx(0.5**10)


def test_ratio_is_the_smallest_that_fits() -> None:
    assert whole_ratio([0.75, 0.25], 0.02) == [3, 1]
    assert whole_ratio([0.5, 0.25, 0.25], 0.01) == [2, 1, 1]
    assert whole_ratio([0.5, 0.5], 0.2) is None  # they are the same
    assert whole_ratio([0.99, 0.01], 0.001) is None


# Verdicts


def answer(host: str, connection: int = 0, cookie_of: str | None = None) -> Sample:
    replica = samples.Replica(host, host, None, samples.NO_COLOURS)
    return Sample(0, 0, replica, connection=connection, cookie_of=cookie_of, cookies=("SRV",) if cookie_of else ())


def watch_all(answers: Iterable[Sample], keeping: bool = False, look: int = 10) -> list[Verdict]:
    """The verdicts of whoever looks each so many answers."""
    evidence, seen = Evidence(keeping), []
    for number, one in enumerate(answers, 1):
        evidence.note(one)
        if number % look == 0:
            seen.append(judge(evidence))
    return seen


def drawn(weights: list[int], seed: int, number: int = 300) -> list[Sample]:
    chosen = random.Random(seed).choices(range(len(weights)), weights, k=number)
    return [answer(f"web-{choice}", number) for number, choice in enumerate(chosen)]


def in_turn(order: Sequence[str], number: int) -> list[Sample]:
    return [answer(order[place % len(order)], place) for place in range(number)]


@pytest.mark.parametrize("cells", [2, 3, 5])
def test_even_replicas_are_hardly_ever_called_weighted(cells: int) -> None:
    """The stated error is that of the whole stretch, however often one looks; and an even share is no other claim."""
    wrong = Counter(
        kind for seed in SEEDS for kind in {verdict.kind for verdict in watch_all(drawn([1] * cells, seed))}
    )
    assert wrong["weighted"] <= ERROR * len(SEEDS)
    assert wrong["too few"] == len(SEEDS)
    assert set(wrong) <= {"too few", "weighted", "even"}


def test_chi_square_alone_would_be_wrong_more_often() -> None:
    """So this is what the odds are for: with a new look at every answer, a p-value below the error comes by and by."""
    wrong = 0
    for seed in SEEDS:
        counts = [0, 0]
        for choice in random.Random(seed).choices((0, 1), k=300):
            counts[choice] += 1
            if sum(counts) >= 10 and chi_square_chance(chi_square_even(counts), 1) < ERROR:
                wrong += 1
                break
    assert wrong > 3 * ERROR * len(SEEDS)


@pytest.mark.parametrize("weights", [[2, 1], [2, 1, 1], [3, 1], [9, 1]], ids=str)
def test_weighted_replicas_are_found_and_hardly_ever_called_even(weights: list[int]) -> None:
    runs = [watch_all(drawn(weights, seed, 600)) for seed in SEEDS]
    assert sum(any(verdict.kind == "even" for verdict in run) for run in runs) <= ERROR * len(SEEDS)
    assert sum(run[-1].kind == "weighted" for run in runs) >= 0.9 * len(SEEDS)
    assert not any(verdict.kind == "unsteady" for run in runs for verdict in run)


def test_weights_are_named_with_how_closely_they_are_known() -> None:
    verdict = watch_all(in_turn("aaab", 800))[-1]
    assert verdict.words.startswith("weighted about 3:1: a 75")
    assert "give or take" in verdict.words
    assert f"n = {verdict.samples}" in verdict.words
    low, seen, high = verdict.shares["a"]
    assert low < 0.75 < high
    assert seen == pytest.approx(0.75, abs=0.01)
    assert verdict.chance < ERROR


@QUICK
@given(st.integers(2, 8), st.integers(0, 900))
def test_rotation_is_even_or_not_yet_known(cells: int, number: int) -> None:
    kinds = {verdict.kind for verdict in watch_all(in_turn("abcdefgh"[:cells], number))}
    assert kinds <= {"too few", "even"}


@pytest.mark.parametrize("cells", [2, 3, 5])
def test_as_many_as_are_wanted_are_enough(cells: int) -> None:
    order = "abcde"[:cells]
    start = cells  # the answers that began the stretch do not count
    assert watch_all(in_turn(order, start + needed(cells)), look=1)[-1].kind == "even"
    assert watch_all(in_turn(order, start + needed(cells) - cells), look=1)[-1].kind == "too few"


@QUICK
@given(st.randoms(use_true_random=False), st.integers(1, 200))
def test_names_do_not_matter(draw: random.Random, number: int) -> None:
    hosts = [draw.choice("abc") for _ in range(number)]
    there = judge_all(answer(host) for host in hosts)
    other = judge_all(answer({"a": "z", "b": "y", "c": "x"}[host]) for host in hosts)
    assert (there.kind, there.samples, there.chance) == (other.kind, other.samples, pytest.approx(other.chance))


def judge_all(answers: Iterable[Sample], keeping: bool = False) -> Verdict:
    evidence = Evidence(keeping)
    for one in answers:
        evidence.note(one)
    return judge(evidence)


def test_nothing_is_claimed_of_few_samples() -> None:
    assert judge_all([]) == Verdict("too few", "no answer yet", 0)
    for answers in ["a", "ab", "aaaa", "abab", "aaab"]:
        assert judge_all(map(answer, answers)).kind == "too few"


def test_one_replica_only() -> None:
    verdict = judge_all(in_turn("a", 301))
    assert verdict.kind == "one replica"
    assert verdict.samples == 300
    assert f"{100 * (1 - verdict.shares['a'][0]):.3g} %" in verdict.words


def test_one_replica_only_on_few_connections_is_not_enough() -> None:
    """A thousand answers on eight connections are eight draws, if connections are what is shared out."""
    verdict = judge_all((answer("a", number % 8) for number in range(1000)), keeping=True)
    assert (verdict.kind, verdict.samples) == ("too few", 8)


def test_a_replica_that_went_and_comes_back() -> None:
    verdicts = watch_all(in_turn("abc", 300) + in_turn("ab", 300) + in_turn("abc", 600))
    assert not {verdict.kind for verdict in verdicts} - {"too few", "even"}
    assert any("c may be gone" in verdict.words for verdict in verdicts)
    assert any(
        verdict.kind == "even" and "2 replicas" in verdict.words and "since c went" in verdict.words
        for verdict in verdicts
    )
    assert "since c came back" in verdicts[-1].words
    assert verdicts[-1].kind == "even"


def test_a_replica_that_is_too_rare_has_no_weight() -> None:
    verdict = judge_all(map(answer, "ab" + 100 * "a"))
    assert verdict.kind == "too few"
    assert "b answered too rarely" in verdict.words


@pytest.mark.parametrize("run", [5, 10, 20, 50])
def test_answers_that_cling_together_are_never_judged_as_drawn(run: int) -> None:
    verdicts = watch_all(in_turn("a" * run + "b" * run, 400), look=1)
    kinds = [verdict.kind for verdict in verdicts]
    assert not set(kinds) & {"even", "weighted"}
    if run <= 10:  # in longer ones, each replica seems to be gone by and by
        assert kinds[-1] == "unsteady"


@pytest.mark.parametrize("order", [["web-0", "web-0", "web-1"], ["web-0", "web-1", "web-1"]], ids=str)
def test_shares_that_change_are_judged_since_then(order: list[str]) -> None:
    verdicts = watch_all(drawn([1, 1], 0, 500) + in_turn(order, 900))
    assert "2:1" in verdicts[-1].words
    assert verdicts[-1].words.endswith("since the shares changed)")
    assert verdicts[-1].samples < 900


def test_shares_that_stay_hardly_ever_seem_to_change() -> None:
    for seed in SEEDS:
        for weights in [1, 1], [5, 1], [1, 1, 1, 1]:
            assert "changed" not in judge_all(drawn(weights, seed, 600)).words


def on_connections(host_of: Callable[[int, int], str], seed: int, number: int) -> list[Sample]:
    """Eight connections, used at random; the replica may depend on the connection and on the number of the answer."""
    draw = random.Random(seed)
    used = [draw.randrange(8) for _ in range(number)]
    return [answer(host_of(connection, place), connection) for place, connection in enumerate(used)]


def test_sticky_by_connection() -> None:
    for seed in SEEDS:
        verdict = watch_all(on_connections(lambda connection, place: "abc"[connection % 3], seed, 200), True)[-1]
        assert (verdict.kind, verdict.samples) == ("sticky by connection", 8)


def test_independent_answers_never_stick_to_connections() -> None:
    for seed in SEEDS:
        draw = random.Random(-1 - seed)
        independent = on_connections(lambda connection, place, draw=draw: draw.choice("ab"), seed, 200)
        rotation = on_connections(lambda connection, place: "ab"[place % 2], seed, 200)
        for answers in independent, rotation:
            assert not {verdict.kind for verdict in watch_all(answers, True)} & {"sticky by connection", "unsteady"}


def test_connections_that_mostly_stick_are_unsteady() -> None:
    some = on_connections(lambda connection, place: "ab"[(connection + (place % 10 == 0)) % 2], 0, 400)
    assert watch_all(some, True)[-1].kind == "unsteady"


def with_cookies(hit: Callable[[str], str], number: int) -> list[Sample]:
    """A rotation, and every fifth answer carries a cookie of one of its replicas."""
    found = in_turn("abc", number)
    for place in range(0, number, 5):
        found.insert(place, answer(hit("abc"[place % 3]), cookie_of="abc"[place % 3]))
    return found


def test_sticky_by_cookie() -> None:
    verdict = judge_all(with_cookies(lambda owner: owner, 600))
    assert verdict.kind == "sticky by cookie"
    assert "SRV" in verdict.words
    assert "without it, even" in verdict.words


def test_cookies_that_lead_nowhere() -> None:
    draw = random.Random(0)
    assert judge_all(with_cookies(lambda owner: draw.choice("abc"), 600)).kind == "even"
    assert judge_all(with_cookies(lambda owner: owner, 10)).kind == "too few"
    alone = [*in_turn("a", 200), *(answer("a", cookie_of="a") for _ in range(100))]
    assert judge_all(alone).kind == "one replica"  # where there is but one, a cookie shows nothing


def test_evidence_does_not_grow_with_answers() -> None:
    evidence = Evidence(keeping=True)
    for number in range(3 * CONNECTIONS_KEPT):
        evidence.note(answer("ab"[number % 2], number))
    assert len(evidence.stretch.chunks) <= CHUNKS
    assert sum(evidence.stretch.chunks, Counter()) == evidence.stretch.counts
    assert len(evidence._on) <= CONNECTIONS_KEPT


# What is counted


@QUICK
@given(st.lists(st.floats(1e-5, 100), min_size=1), st.sampled_from([0.5, 0.99, 1.0]))
def test_quantiles_are_right_to_one_percent(times: list[float], part: float) -> None:
    latencies = Latencies()
    for time_ in times:
        latencies.note(time_)
    rank = -int(-part * len(times) // 1) - 1
    assert latencies.quantile(part) == pytest.approx(sorted(times)[rank], rel=0.0101)


def test_no_quantile_of_nothing() -> None:
    assert Latencies().quantile(0.5) is None


def test_gaps_span_failures() -> None:
    gaps = Gaps(10.0)
    assert gaps.longest(11.0) is None
    for moment, answered in [(11, True), (15, True), (16, False), (17, False), (18, True), (19, False), (20, True)]:
        gaps.note(moment, answered)
    assert (gaps.latest(30.0), gaps.longest(30.0)) == (2, 3)  # not the pause from 11 to 15, in which nothing failed
    gaps.note(21.0, False)
    assert (gaps.latest(30.0), gaps.longest(30.0)) == (10, 10)  # it lasts


def test_a_gap_at_the_beginning() -> None:
    gaps = Gaps(10.0)
    gaps.note(11.0, False)
    gaps.note(14.0, True)
    assert gaps.longest(20.0) == 4


def test_pace_is_that_of_the_last_seconds() -> None:
    tally = Tally(100.0)
    for number in range(200):
        tally.note(Sample(0, 100 + number / 10, failure="refused"))
    assert tally.pace(120.0) == pytest.approx(10)
    assert tally.pace(130.0) == 0
    assert tally.rate(140.0) == pytest.approx(5)


def test_answers_of_others_are_no_whoami() -> None:
    for body in [b"", b"<html>", b"[]", b"{}", b'{"host": 1}', b'{"host": ""}', b"[" * 100000, b"\xff"]:
        assert read_whoami(body) is None


def test_what_replicas_say_does_nothing_to_a_terminal() -> None:
    told = {"host": "a\x1b[2J", "short": "b\n", "version": "\x9b1m\u202e", "colours": ["red", "\x1b"]}
    replica = read_whoami(json.dumps(told).encode())
    assert replica is not None
    assert "".join([replica.host, replica.short, replica.version or ""]).isprintable()
    assert replica.colours == samples.NO_COLOURS


def test_cookies_are_kept_as_a_browser_would() -> None:
    cookies = Cookies(secure=False)
    cookies.note("a", ["SRV=x; Path=/", "gone=; Path=/", "old=1; Max-Age=0", "tls=1; Secure", "\x00"])
    found = {draw[0]: draw[1] for draw in (cookies.draw() for _ in range(500)) if draw}
    assert found == {"a": {"SRV": "x"}}


# Options


@pytest.mark.parametrize(
    ("text", "duration"), [("500ms", 0.5), ("1s", 1), ("2m", 120), ("1.5s", 1.5), ("1h", 3600), (".5s", 0.5)]
)
def test_durations(text: str, duration: float) -> None:
    assert seconds(text) == duration


@pytest.mark.parametrize("text", ["", "1", "s", "-1s", "1 s", "0s", "1e3s", "1d", "nans", "\u0661s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        seconds(text)


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://a", "http://a/whoami"),
        ("http://a:81/", "http://a:81/whoami"),
        ("https://[::1]:8/x", "https://[::1]:8/x/whoami"),
        ("http://a/x/", "http://a/x/whoami"),
        ("http://a/x/whoami", "http://a/x/whoami"),
        ("http://a/?b=1#c", "http://a/whoami?b=1"),
    ],
)
def test_url_of_whoami(url: str, asked: str) -> None:
    assert whoami_url(url, keep=False) == (asked, asked.partition("?")[0])
    kept = whoami_url(url, keep=True)[0]
    assert kept == asked + ("&" if "?" in asked else "?") + "keep=1"


def test_passwords_are_not_shown() -> None:
    options = parse(["http://me:secret@a/x"])
    assert "secret" in options.url
    assert options.shown == "http://a/x/whoami"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["localhost:8080"],
        ["ftp://a/"],
        ["http://"],
        ["http://a:99999/"],
        ["http://a/", "--rate", "0"],
        ["http://a/", "--rate", "nan"],
        ["http://a/", "--count", "0"],
        ["http://a/", "--concurrency", "1001"],
        ["http://a/", "--duration", "10"],
        ["http://a/", "--min-share", "101%"],
        ["http://a/", "--expect-replicas", "x"],
        ["http://a/", "--dur", "1s"],
    ],
    ids=" ".join,
)
def test_bad_use(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


# The command


def environment() -> dict[str, str]:
    kept = {name: value for name, value in clean_environment().items() if not name.lower().endswith("_proxy")}
    return {name: value for name, value in kept.items() if name not in ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR")}


def watch(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run one that ends by itself."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=3 * PATIENCE, check=False, env=environment())


@pytest.fixture(scope="module", autouse=True)
def libraries() -> None:
    for name in "httpx", "rich":
        if not importlib.util.find_spec(name):
            missing("watch", f"{name} is not installed")


class Fleet:
    """Replicas that can be killed, and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.replicas: dict[str, Replica] = {}

    def start(self, name: str, port: int = 0, *options: str) -> int:
        """The port that it listens on."""
        one = ["--name", name, "--host", "127.0.0.1", "--workers", "1", *options]
        shape = Shape(sys.executable, "-m", "yinyang.serve")
        replica = shape.replica(self.folder / f"log-{name}", *one, "--port", str(port))
        self.replicas[name] = replica
        replica.wait_for_port()
        return replica.port

    def kill(self, name: str) -> None:
        self.replicas[name].kill()

    def end(self) -> None:
        for replica in self.replicas.values():
            replica.kill()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path)
    yield fleet
    fleet.end()


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a replica that nothing happens to."""
    fleet = Fleet(tmp_path_factory.mktemp("lone"))
    yield fleet.start("web-lone", 0, "--app-version", "1.2.3")
    fleet.end()


def metric(port: int, name: str) -> int:
    """What a replica counts."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        text = read_all(client).decode()
    return int(re.search(rf"^{re.escape(name)} (\d+)", text, re.MULTILINE)[1])


def sampled(port: int) -> int:
    """How often a replica was asked for whoami."""
    return metric(port, 'http_requests_total{code="200",route="whoami"}')


NUMBER = (int, float)
MAYBE = (int, float, type(None))
SCHEMA: dict[str, object] = {
    "url": str,
    "connection": str,
    "seconds": NUMBER,
    "ended": str,
    "samples": int,
    "answers": int,
    "errors": int,
    "rate": NUMBER,
    "replicas": [
        {
            "host": str,
            "short": str,
            "version": (str, type(None)),
            "colours": [str],
            "answers": int,
            "share": NUMBER,
            "silent_for": NUMBER,
            "silent": bool,
        }
    ],
    "failures": dict,
    "gap": {"latest": MAYBE, "longest": MAYBE},
    "latency": {"p50": MAYBE, "p99": MAYBE},
    "verdict": {
        "kind": str,
        "words": str,
        "samples": int,
        "shares": dict,
        "chi_square": MAYBE,
        "freedom": (int, type(None)),
        "p": MAYBE,
    },
    "expectations": [{"expected": str, "seen": str, "holds": bool}],
}


def check_shape(value: object, shape: object) -> None:
    """Has it exactly these keys, in this order, and values of these types?"""
    if isinstance(shape, dict):
        assert isinstance(value, dict)
        assert list(value) == list(shape)
        for key, part in shape.items():
            check_shape(value[key], part)
    elif isinstance(shape, list):
        assert isinstance(value, list)
        for part in value:
            check_shape(part, shape[0])
    else:
        assert isinstance(value, shape)


def told(done: subprocess.CompletedProcess[str]) -> dict:
    """What was printed as JSON, which has its schema and adds up."""
    found = json.loads(done.stdout)
    check_shape(found, SCHEMA)
    assert done.stdout.count("\n") == 1
    assert found["samples"] == found["answers"] + found["errors"]
    assert sum(replica["answers"] for replica in found["replicas"]) == found["answers"]
    assert sum(found["failures"].values()) == found["errors"]
    assert sum(replica["share"] for replica in found["replicas"]) == pytest.approx(
        int(bool(found["replicas"])), abs=1e-4
    )
    return found


def test_one_replica_as_json(lone: int) -> None:
    done = watch(f"http://127.0.0.1:{lone}/", "--count", 80, "--rate", 400, "--json", "--expect-replicas", 1)
    found = told(done)
    assert (done.returncode, done.stderr) == (0, "")
    assert (found["samples"], found["errors"], found["ended"]) == (80, 0, "count")
    [replica] = found["replicas"]
    assert (replica["host"], replica["version"], replica["answers"]) == ("web-lone", "1.2.3", 80)
    assert replica["colours"][0] == identify("web-lone").colour
    assert found["verdict"]["kind"] == "one replica"
    assert found["gap"] == {"latest": None, "longest": None}
    assert 0 < found["latency"]["p50"] <= found["latency"]["p99"]


def test_lines_in_a_pipe(lone: int) -> None:
    done = watch(f"http://127.0.0.1:{lone}", "--duration", "1500ms", "--rate", 50)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) >= 2
    assert all(re.match(r"\d+ s: \d+ samples, [\d.]+/s; ", line) for line in lines)
    assert re.search(r"/s; \S+ 100 %; no failure; p50 \S+ ms, p99 \S+ ms; ", lines[-1])
    assert "\x1b" not in done.stdout


def test_connections_are_used_again_or_not(lone: int) -> None:
    """As the replica counts them."""
    before = metric(lone, "yinyang_connections_accepted_total")
    watch(f"http://127.0.0.1:{lone}", "--count", 40, "--rate", 500, "--concurrency", 4)
    between = metric(lone, "yinyang_connections_accepted_total")
    watch(f"http://127.0.0.1:{lone}", "--count", 40, "--rate", 500, "--concurrency", 4, "--connection", "same")
    assert between - before == 40 + 1
    assert metric(lone, "yinyang_connections_accepted_total") - between <= 4 + 1


def test_nobody_answers() -> None:
    with socket.socket() as unused:  # bound, but nobody listens
        unused.bind(("127.0.0.1", 0))
        done = watch(f"http://127.0.0.1:{unused.getsockname()[1]}", "--count", 3, "--rate", 100, "--json")
    found = told(done)
    assert done.returncode == 1
    assert found["failures"] == {"refused": 3}
    assert found["gap"]["longest"] > 0
    assert done.stderr == "yinyang.watch: expected an answer, seen: none to 3 requests (3 refused)\n"


def test_expectations(lone: int) -> None:
    """Each that does not hold has its line, and only those."""
    url = f"http://127.0.0.1:{lone}"
    held = ["--expect-replicas", 1, "--max-errors", 0, "--max-gap", "1ms", "--min-share", "100%"]
    done = watch(url, "--count", 5, "--rate", 100, *held)
    assert (done.returncode, done.stderr) == (0, "")
    done = watch(url, "--count", 5, "--rate", 100, "--expect-replicas", 2, "--max-errors", 0)
    assert done.returncode == 1
    assert done.stderr == "yinyang.watch: expected exactly 2 replicas, seen: 1: web-lone\n"
    done = watch(f"{url}/elsewhere?/whoami", "--count", 1, *held)  # the query is passed on, and is no path
    assert done.returncode == 1
    assert done.stderr.count("\n") == 5


@contextlib.contextmanager
def answering(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a server that does this with each connection that has sent something."""

    def serve() -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = listener.accept()
                with client:
                    client.recv(65536)
                    behave(client)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def says(text: bytes) -> Callable[[socket.socket], None]:
    return lambda client: client.sendall(text)


def say_nothing(client: socket.socket) -> None:
    client.recv(1)  # until it has waited long enough


OK = b"HTTP/1.1 200 OK\r\nContent-Length: "
FAILURES: dict[str, tuple[Callable[[socket.socket], None], str]] = {
    "reset": (reset, "reset"),
    "closed": (lambda client: None, "closed"),
    "cut": (says(OK + b"99\r\n\r\n{"), "closed"),
    "silent": (say_nothing, "timed out"),
    "502": (says(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"), "status 502"),
    "301": (says(b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), "status 301"),
    "page": (says(OK + b"6\r\n\r\n<html>"), "not whoami"),
    "endless": (lambda client: client.sendall(OK + b"1000000\r\n\r\n" + 100000 * b" "), "not whoami"),
    "ssh": (says(b"SSH-2.0-OpenSSH\r\n\r\n"), "not HTTP"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures_are_told_apart(name: str) -> None:
    behave, word = FAILURES[name]
    limit = ["--timeout", "300ms"] if word == "timed out" else []

    def safely(client: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            behave(client)

    with answering(safely) as port:
        done = watch(f"http://127.0.0.1:{port}", "--count", 2, "--rate", 100, *limit, "--json")
    assert told(done)["failures"] == {word: 2}
    assert done.returncode == 1


@contextlib.contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [*COMMAND, *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("arguments", "number", "code"),
    [
        ([], signal.SIGINT, 0),
        (["--expect-replicas", 7], signal.SIGINT, 1),
        (["--duration", "1h"], signal.SIGINT, 130),
        (["--count", 10**9], signal.SIGINT, 130),
        (["--duration", "1h"], signal.SIGTERM, 143),
    ],
    ids=str,
)
def test_told_to_end(arguments: list[object], number: int, code: int, lone: int) -> None:
    with started(f"http://127.0.0.1:{lone}", *arguments) as process:
        assert process.stdout.readline().startswith("1 s: ")
        process.send_signal(number)
        rest, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert re.match(r"\d+ s: ", rest.splitlines()[-1])


def test_a_reader_that_has_enough(lone: int) -> None:
    with started(f"http://127.0.0.1:{lone}") as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE) == 128 + signal.SIGPIPE


def test_a_host_that_is_none() -> None:
    done = watch("http://-\u00f6..x/", "--count", 1)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "is no URL" in done.stderr


@pytest.mark.parametrize("name", ["httpx", "rich"])
def test_without_the_extra(name: str) -> None:
    code = f"""import runpy, sys
sys.modules[{name!r}] = None
sys.argv = ["watch", "http://127.0.0.1/"]
runpy.run_module("yinyang.watch", run_name="__main__")"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (2, "")
    assert name in done.stderr
    assert "yinyang-serve[watch]" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_server_does_without_it() -> None:
    code = (
        "import sys, yinyang.serve; print([n for n in sys.modules if n.startswith(('yinyang.watch', 'httpx', 'rich'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert done.stdout == "[]\n"


def test_a_gap_is_as_long_as_nobody_was_there(fleet: Fleet) -> None:
    port = fleet.start("web-1")
    with started(f"http://127.0.0.1:{port}", "--rate", 50, "--max-gap", "1ms") as process:
        wait_until(lambda: sampled(port) > 5, "some samples")
        fleet.kill("web-1")
        wait_until(lambda: refuses(port), "the end of its workers")
        gone = time.monotonic()
        assert any(" refused" in line for line in process.stdout)
        back = time.monotonic()
        fleet.start("web-1", port)
        wait_until(lambda: sampled(port) > 5, "samples again")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    longest = float(re.search(r"; gap [\d.]+ s, longest ([\d.]+) s; ", output.splitlines()[-1])[1])
    assert longest >= back - gone - 0.01  # as it is rounded
    assert re.fullmatch(r"yinyang.watch: expected no gap longer than 0.001 s, seen: one of [\d.]+ s\n", errors)


def refuses(port: int) -> bool:
    """Does nobody listen there?"""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


# In a terminal


@pytest.mark.parametrize("width", [20, 30, 50, 80, 200])
@pytest.mark.parametrize("height", [5, 24])
def test_picture_fits(width: int, height: int) -> None:
    console_of = importlib.import_module("rich.console").Console
    picture_of = importlib.import_module("yinyang.watch.view").Picture
    tally = Tally(0.0)
    for number in range(300):
        host = f"yinyang-7d4b9c6f5-{number % 30:05}"
        replica = samples.Replica(host, host[-5:], "1.2.3-beta", ("#b8d868", "#000000"))
        tally.note(Sample(number / 10, number / 10 + 0.001, replica))
        if number % 100 == 99:
            tally.note(Sample(number / 10, number / 10, failure="refused"))
    shown = io.StringIO()
    console = console_of(file=shown, width=width, height=height)
    console.print(picture_of("http://localhost/whoami", tally, 30.0))
    lines = shown.getvalue().splitlines()
    assert all(len(line.rstrip()) <= width for line in lines)
    assert sum("\N{YIN YANG}" in line for line in lines) == max(1, height - 8 - 1)
    if width >= 30:
        assert any("refused 3" in line for line in lines)
        assert any("more" in line for line in lines)
        assert any("00000" in line for line in lines)
    shown.truncate(0)
    console.print(picture_of("http://localhost/whoami", tally, 30.0, whole=True))
    assert shown.getvalue().count("\N{YIN YANG}") == 30


class Terminal:
    """A watch in a terminal of its own."""

    def __init__(self, *arguments: object, columns: int, **variables: str) -> None:
        self.master, slave = pty.openpty()
        self.resize(columns)
        given = environment() | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"} | variables
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)], stdin=slave, stdout=slave, stderr=slave, env=given, start_new_session=True
        )
        os.close(slave)
        self.text = ""

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 20, columns, 0, 0))

    def read(self) -> bool:
        """Whether there was more."""
        try:
            piece = os.read(self.master, 65536)
        except OSError:  # nobody holds the other end any more
            return False
        self.text += piece.decode(errors="replace")
        return bool(piece)

    def read_until(self, condition: Callable[[str], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition(self.text):
            assert time.monotonic() < deadline, self.text
            assert not select.select([self.master], [], [], PATIENCE)[0] or self.read(), self.text

    def end(self) -> int:
        os.kill(self.process.pid, signal.SIGINT)
        while self.read():
            pass
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_one(*arguments: object, columns: int = 90, **variables: str) -> Terminal:
        opened.append(Terminal(*arguments, columns=columns, **variables))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


HOME = "\x1b[H"  # where each frame begins


def frames(text: str) -> list[list[str]]:
    """The lines of the whole frames, as they are seen."""
    plain = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", frame) for frame in text.split(HOME)[1:-1]]
    return [frame.split("\r\n") for frame in plain]


def test_in_a_terminal(lone: int, terminal: Callable[..., Terminal]) -> None:
    """It shows the replica in its two colours, fits into each size that the window takes, and leaves the screen."""
    shown = terminal(f"http://127.0.0.1:{lone}", "--rate", 50)
    circle, path = identify("web-lone").colour, "#000000"
    inside = [";".join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5)) for colour in (circle, path)]
    shown.read_until(lambda text: f"\x1b[38;2;{inside[1]};48;2;{inside[0]}m" in text)
    assert "web-lone" in shown.text
    for columns in 40, 120, 25:
        before = len(frames(shown.text))
        shown.resize(columns)

        def fitted(text: str, before: int = before, columns: int = columns) -> bool:
            late = frames(text)[before:]
            return len(late) > 3 and all(len(line) <= columns for frame in late[-2:] for line in frame)

        shown.read_until(fitted)
        late = frames(shown.text)[-1]
        assert max(map(len, late)) == columns
        assert any("web" in line for line in late)
    assert shown.end() == 0
    screen, _, left = shown.text.rpartition("\x1b[?1049l")
    assert "\x1b[?1049h" in screen
    assert "web-l" in left


def test_without_colours(lone: int, terminal: Callable[..., Terminal]) -> None:
    shown = terminal(f"http://127.0.0.1:{lone}", "--rate", 50, NO_COLOR="1")
    shown.read_until(lambda text: "web-lone" in text and "\N{YIN YANG}" in text)
    assert shown.end() == 0
    assert not re.search(r"\x1b\[[0-9;]*[34]8;", shown.text)


# Behind HAProxy

CONFIGURATION = """
global
    nbthread 1
defaults
    mode {mode}
    retries 0
    timeout connect 20s
    timeout client 20s
    timeout server 20s
listen clients
    bind fd@{listener}
    balance {balance}
    {more}
    {servers}
"""


class Balancer:
    """HAProxy in front of some replicas."""

    def __init__(
        self, folder: Path, servers: dict[str, str], mode: str = "http", balance: str = "roundrobin", more: str = ""
    ) -> None:
        """servers: by name, address and options."""
        configuration = folder / "haproxy"
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            lines = "\n    ".join(f"server {name} {rest}" for name, rest in servers.items())
            given = {"listener": listener.fileno(), "servers": lines, "mode": mode, "balance": balance, "more": more}
            configuration.write_text(CONFIGURATION.format(**given))
            self.process = subprocess.Popen(
                [needs("haproxy"), "-db", "-f", str(configuration)],
                pass_fds=[listener.fileno()],
                stderr=subprocess.DEVNULL,
            )

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)


@pytest.fixture
def balance(fleet: Fleet, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """The URL of replicas behind HAProxy; for each, the options of its server."""
    balancers: list[Balancer] = []

    def start(*servers: str, **options: str) -> str:
        needs("haproxy")
        names = [f"web-{number}" for number in range(len(servers))]
        lines = {name: f"127.0.0.1:{fleet.start(name)} {rest}" for name, rest in zip(names, servers, strict=True)}
        balancers.append(Balancer(tmp_path, lines, **options))
        return balancers[-1].url

    yield start
    for balancer in balancers:
        balancer.stop()


behind_proxy = pytest.mark.proxies


@behind_proxy
def test_even_behind_a_proxy(balance: Callable[..., str]) -> None:
    found = told(watch(balance("", "", ""), "--count", needed(3) + 30, "--rate", 1000, "--json", "--min-share", "30%"))
    assert [round(100 * replica["share"]) for replica in found["replicas"]] == [33, 33, 33]
    assert found["verdict"]["kind"] == "even"
    assert all(one["holds"] for one in found["expectations"])


@behind_proxy
def test_weights_behind_a_proxy(balance: Callable[..., str]) -> None:
    done = watch(balance("weight 3", "weight 1"), "--count", 800, "--rate", 1000, "--json", "--min-share", "30")
    found = told(done)
    assert found["verdict"]["words"].startswith("weighted about 3:1: web-0 75")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "yinyang.watch: expected each replica gives at least 30 % of the answers, seen: web-1 25"
    )


@behind_proxy
def test_connections_stick_behind_a_proxy_of_connections(balance: Callable[..., str]) -> None:
    url = balance("", "", "", mode="tcp")
    found = told(watch(url, "--count", 300, "--rate", 500, "--json", "--connection", "same"))
    assert found["verdict"]["kind"] == "sticky by connection"
    assert found["connection"] == "same"


@behind_proxy
def test_connections_do_not_stick_behind_a_proxy_of_requests(balance: Callable[..., str]) -> None:
    found = told(watch(balance("", ""), "--count", 300, "--rate", 500, "--json", "--connection", "same"))
    assert found["verdict"]["kind"] == "even"


@behind_proxy
def test_cookies_behind_a_proxy(balance: Callable[..., str]) -> None:
    url = balance("cookie a", "cookie b", "cookie c", more="cookie SRV insert indirect nocache")
    found = told(watch(url, "--count", 400, "--rate", 1000, "--json"))
    assert found["verdict"]["kind"] == "sticky by cookie"
    assert "cookie SRV" in found["verdict"]["words"]


@behind_proxy
def test_sources_behind_a_proxy(balance: Callable[..., str]) -> None:
    found = told(watch(balance("", "", "", balance="source"), "--count", 200, "--rate", 1000, "--json"))
    assert found["verdict"]["kind"] == "one replica"


@behind_proxy
def test_a_replica_is_killed_behind_a_proxy(balance: Callable[..., str], fleet: Fleet) -> None:
    url = balance("", "", "")
    limits = ["--max-errors", 0, "--max-gap", "1ms", "--expect-replicas", 3]
    with started(url, "--rate", 200, "--json", *limits) as process:
        ports = {name: replica.port for name, replica in fleet.replicas.items()}
        wait_until(lambda: sampled(ports["web-1"]) > 30, "some samples")
        fleet.kill("web-1")
        before = sampled(ports["web-2"])
        wait_until(lambda: sampled(ports["web-2"]) > before + 100, "more samples")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
    found = told(subprocess.CompletedProcess([], process.returncode, output, errors))
    assert process.returncode == 1
    assert found["failures"].get("status 503", 0) > 30
    assert found["gap"]["longest"] > 0
    assert [replica["silent"] for replica in sorted(found["replicas"], key=lambda one: one["host"])] == [
        False,
        True,
        False,
    ]
    assert "web-1" in found["verdict"]["words"]
    assert re.match(r"yinyang.watch: expected at most 0 errors, seen: \d+ of \d+ requests \(", errors)
    assert errors.count("\n") == 2
