"""What is counted: latencies, gaps, rates."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yinyang.watch.metrics import Gaps, LatencyHistogram, Metrics
from yinyang.watch.sample import Sample

QUICK = settings(max_examples=50, deadline=None, derandomize=True)
pytestmark = pytest.mark.host


@QUICK
@given(st.lists(st.floats(1e-5, 100), min_size=1), st.sampled_from([0.5, 0.99, 1.0]))
def test_quantiles_are_right_to_one_percent(times: list[float], part: float) -> None:
    latencies = LatencyHistogram()
    for time_ in times:
        latencies.add(time_)
    rank = -int(-part * len(times) // 1) - 1
    assert latencies.quantile(part) == pytest.approx(sorted(times)[rank], rel=0.0101)


def test_no_quantile_of_nothing() -> None:
    assert LatencyHistogram().quantile(0.5) is None


def test_gaps_span_failures() -> None:
    gaps = Gaps(10.0)
    assert gaps.longest(11.0) is None
    for moment, answered in [(11, True), (15, True), (16, False), (17, False), (18, True), (19, False), (20, True)]:
        gaps.add(moment, answered)
    assert (gaps.latest(30.0), gaps.longest(30.0)) == (2, 3)  # not the pause from 11 to 15, in which nothing failed
    gaps.add(21.0, False)
    assert (gaps.latest(30.0), gaps.longest(30.0)) == (10, 10)  # it lasts


def test_a_gap_at_the_beginning() -> None:
    gaps = Gaps(10.0)
    gaps.add(11.0, False)
    gaps.add(14.0, True)
    assert gaps.longest(20.0) == 4


def test_a_gap_is_not_negative_where_samples_come_late() -> None:
    gaps = Gaps(10.0)
    for moment, answered in [(12.0, True), (11.9, False), (11.9, True)]:
        gaps.add(moment, answered)
    assert (gaps.latest(20.0), gaps.longest(20.0)) == (0, 0)


def test_pace_is_that_of_the_last_seconds() -> None:
    metrics = Metrics(100.0)
    for number in range(200):
        metrics.add(Sample(0, 100 + number / 10, failure="refused"))
    assert metrics.current_rate(120.0) == pytest.approx(10)
    assert metrics.current_rate(130.0) == 0
    assert metrics.average_rate(140.0) == pytest.approx(5)


def test_a_rate_is_low_beyond_chance() -> None:
    metrics = Metrics(100.0, asked_rate=10)
    for number in range(70):
        metrics.add(Sample(0, 100 + number / 10, failure="refused"))
    assert not metrics.is_slow(110.0)
    assert metrics.is_slow(120.0)
    assert not Metrics(100.0).is_slow(110.0)
