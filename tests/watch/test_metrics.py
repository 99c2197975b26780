"""What is counted: latencies, gaps, rates."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watch.tallies import answer, fail, tally

QUICK = settings(max_examples=50, deadline=None, derandomize=True)
pytestmark = pytest.mark.host


@QUICK
@given(st.lists(st.floats(1e-4, 100), min_size=1), st.sampled_from([0.5, 0.99, 1.0]))
def test_quantiles_are_right_to_one_percent(times: list[float], part: float) -> None:
    latencies = tally()
    for time_ in times:
        answer(latencies, 1000.0, "a", took=time_)
    rank = -int(-part * len(times) // 1) - 1
    assert latencies.latency(part) == pytest.approx(sorted(times)[rank], rel=0.0151)  # times are in whole us


def test_no_quantile_of_nothing() -> None:
    assert tally().latency(0.5) is None


def test_gaps_span_failures() -> None:
    gaps = tally(begin=10.0)
    assert gaps.gaps(11.0) == (None, None)
    for moment, answered in [(11, True), (15, True), (16, False), (17, False), (18, True), (19, False), (20, True)]:
        (answer if answered else fail)(gaps, moment, "a")
    assert gaps.gaps(30.0) == (2, 3)  # not the pause from 11 to 15, in which nothing failed
    fail(gaps, 21.0)
    assert gaps.gaps(30.0) == (10, 10)  # it lasts


def test_a_gap_at_the_beginning() -> None:
    gaps = tally(begin=10.0)
    fail(gaps, 11.0)
    answer(gaps, 14.0, "a")
    assert gaps.gaps(20.0) == (4, 4)


def test_a_gap_is_not_negative_where_samples_come_late() -> None:
    gaps = tally(begin=10.0)
    answer(gaps, 12.0, "a")
    fail(gaps, 11.9)
    answer(gaps, 11.9, "a")
    assert gaps.gaps(20.0) == (0, 0)


def test_pace_is_that_of_the_last_seconds() -> None:
    counted = tally(begin=100.0)
    for number in range(200):
        fail(counted, 100 + number / 10)
    assert counted.current_rate(120.0) == pytest.approx(10)
    assert counted.current_rate(130.0) == 0
    assert counted.average_rate(140.0) == pytest.approx(5)


def test_a_rate_is_low_beyond_chance() -> None:
    counted = tally("--rate", "10", begin=100.0)
    for number in range(70):
        fail(counted, 100 + number / 10)
    assert not counted.is_slow(110.0)
    assert counted.is_slow(120.0)
