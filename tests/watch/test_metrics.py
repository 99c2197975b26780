"""What is counted: latencies, gaps, rates, replicas without end."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watch.tallies import replica, tally_for
from yinyang._core import Tally

QUICK = settings(max_examples=50, deadline=None, derandomize=True)


@QUICK
@given(st.lists(st.floats(1e-4, 100), min_size=1), st.sampled_from([0.5, 0.99, 1.0]))
def test_quantiles_are_right_to_one_percent(times: list[float], part: float) -> None:
    tally = tally_for()
    for seconds in times:
        tally.add(0.0, seconds, replica("a"))
    rank = math.ceil(part * len(times)) - 1
    assert tally.latency(part) == pytest.approx(sorted(times)[rank], rel=0.0151)  # and to a microsecond
    for bound in 0.001, 1.0:
        assert sum(seconds <= bound / 1.02 for seconds in times) <= tally.latencies_up_to(bound)
        assert tally.latencies_up_to(bound) <= sum(seconds <= bound * 1.02 for seconds in times)


def test_no_quantile_of_nothing() -> None:
    assert tally_for().latency(0.5) is None


def test_latencies_of_any_length() -> None:
    tally = tally_for()
    tally.add(5.0, 5.0, replica("a"))
    tally.add(5.0, 4.0, replica("a"))
    tally.add(0.0, 2.0**32, replica("a"))
    assert (tally.latencies_up_to(0), tally.latencies_up_to(1e-6), tally.latencies_up_to(1e9)) == (0, 2, 3)


def figures(tally: Tally, now: float) -> Any:
    """What is reported."""
    return json.loads(tally.report(now, "count"))


def gaps(tally: Tally, now: float) -> tuple[float | None, float | None]:
    gap = figures(tally, now)["gap"]
    return gap["latest"], gap["longest"]


def is_slow(tally: Tally, now: float) -> bool:
    return "; asked for 10/s, reached " in tally.line(now)


def test_gaps_span_failures() -> None:
    tally = tally_for(begin=10.0)
    assert gaps(tally, 11.0) == (None, None)
    for moment, answered in [(11, True), (15, True), (16, False), (17, False), (18, True), (19, False), (20, True)]:
        tally.add(moment, moment, replica("a") if answered else None)
    assert gaps(tally, 30.0) == (2, 3)  # not the pause from 11 to 15, in which nothing failed
    tally.add(21.0, 21.0)
    assert gaps(tally, 30.0) == (10, 10)  # it lasts


def test_a_gap_at_the_beginning() -> None:
    tally = tally_for(begin=10.0)
    tally.add(11.0, 11.0)
    tally.add(14.0, 14.0, replica("a"))
    assert gaps(tally, 20.0) == (4, 4)


def test_a_gap_is_not_negative_where_samples_come_late() -> None:
    tally = tally_for(begin=10.0)
    for moment, answered in [(12.0, True), (11.9, False), (11.9, True)]:
        tally.add(moment, moment, replica("a") if answered else None)
    assert gaps(tally, 20.0) == (0, 0)


def test_pace_is_that_of_the_last_seconds() -> None:
    tally = tally_for(begin=100.0)
    for number in range(200):
        tally.add(100, 100 + number / 10, failure="refused")
        if number == 4:
            assert tally.current_rate(100.5) == pytest.approx(10)
    assert tally.current_rate(120.0) == pytest.approx(10)
    assert tally.current_rate(122.0) == pytest.approx(6)
    assert tally.current_rate(130.0) == 0
    assert figures(tally, 140.0)["rate"] == pytest.approx(5)
    tally.add(140.0, 150.0, failure="refused")
    tally.add(140.0, 149.5, failure="refused")
    tally.add(140.0, 120.5, failure="refused")  # so late that it counts for no second
    assert tally.current_rate(151.0) == pytest.approx(2 / 5)


def test_a_rate_is_low_beyond_chance() -> None:
    tally = tally_for("--rate", 10, begin=100.0)
    for number in range(70):
        tally.add(100, 100 + number / 10, failure="refused")
    assert not is_slow(tally, 110.0)
    assert is_slow(tally, 120.0)
    assert not is_slow(tally, 100.0)


@pytest.mark.parametrize("limit", [("--count", "20"), ("--duration", "2s")], ids=str)
def test_a_rate_is_that_of_the_requests_and_not_of_their_answers(limit: tuple[str, str]) -> None:
    tally = tally_for("--rate", 10, *limit)
    for number in range(20):
        tally.wait(number + 1, 0.0, number / 10)
    assert "asked for" not in tally.line(30.0)
    for number in range(20):
        tally.add(number / 10, 30.0, replica("a"))
    tally.wait(0, 0.0)
    assert "asked for" not in tally.line(30.0)
    assert figures(tally, 30.0)["rate"] == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("by", ["replica", "version"])
def test_replicas_without_end(by: str) -> None:
    """Those that are silent the longest make room, but for 256 that the verdict is about; totals stay right."""
    tally = tally_for("--by", by)
    for number in range(3000):
        moment = number / 10
        tally.add(moment, moment, replica(f"host-{number}", f"v{number}"), connection=number)
        tally.add(moment, moment, replica("always", "v"), cookie_of="host-7")
        tally.add(moment, moment, replica(f"host-{number - 50}"), "refused")
    groups = {group["replicas"][0]: group for group in tally.groups()}
    assert len(groups) == 1024
    assert {"always", *(f"host-{number}" for number in range(3000 - (1024 - 256), 3000))} <= {*groups}
    assert groups["always"]["answers"] == 3000
    assert groups["host-2900"]["failures"] == 1
    assert (tally.samples, tally.answers, tally.errors) == (9000, 6000, 3000)
    assert tally.report(300.0, "count")
    assert tally.metrics(300.0).count("replica=") == 1024


def test_more_versions_of_a_replica_than_have_room() -> None:
    tally = tally_for("--by", "version")
    for number in range(2000):
        tally.add(number, number, replica("a", f"v{number}"))
        tally.add(number, number, replica("b", "v0"))
    groups = {group["name"]: group for group in tally.groups()}
    assert len(groups) == 1024
    assert (groups["v0"]["answers"], groups["v0"]["replicas"]) == (2001, ["b"])
    assert (groups["v1999"]["replicas"], groups["v1998"]["replicas"]) == (["a"], [])


def test_a_name_is_as_long_as_there_is_room_for() -> None:
    tally = tally_for()
    tally.add(0, 1, replica("\N{SNOWMAN}" * 100))
    [group] = tally.groups()
    assert group["name"] == "\N{SNOWMAN}" * 85


def test_short_names_where_they_are_unique() -> None:
    tally = tally_for()
    for host, short in [("web-a", "a"), ("db-b", "b"), ("web-b", "b")]:
        tally.add(0, 1, replica(host, short=short))
    assert [group["display_name"] for group in tally.groups()] == ["a", "db-b", "web-b"]


@pytest.mark.parametrize("moment", [-1.0, 2.0**33, math.nan, math.inf])
def test_times_that_cannot_be(moment: float) -> None:
    with pytest.raises(ValueError, match="time"):
        tally_for(begin=moment)
    with pytest.raises(ValueError, match="time"):
        tally_for().add(0, moment)
    with pytest.raises(ValueError, match="host"):
        tally_for().add(0, 0, replica(""))
