"""The statistics that verdicts rest on."""

import random
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watch.samples import QUICK, SEEDS
from yinyang.watch.statistics import (
    chi_square_of_equal_shares,
    chi_square_of_same_shares,
    chi_square_p_value,
    integer_ratio,
    log_e_value_of_equal_shares,
    share_bounds,
    silence_probability,
)

pytestmark = pytest.mark.host


@pytest.mark.parametrize(
    ("statistic", "degrees_of_freedom", "p_value"),
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
def test_p_value_is_the_one_of_the_tables(statistic: float, degrees_of_freedom: int, p_value: float) -> None:
    assert chi_square_p_value(statistic, degrees_of_freedom) == pytest.approx(p_value, rel=2e-3)


@QUICK
@given(st.floats(0, 500), st.floats(0, 500), st.integers(1, 200))
def test_p_value_falls_with_the_statistic(one: float, other: float, freedom: int) -> None:
    less, more = sorted((one, other))
    assert 0 <= chi_square_p_value(more, freedom) <= chi_square_p_value(less, freedom) * (1 + 1e-9) <= 1 + 1e-9


def test_statistics_of_counts() -> None:
    assert chi_square_of_equal_shares([10, 20]) == pytest.approx(10 / 3)
    assert chi_square_of_same_shares([[10, 20], [20, 40]]) == (pytest.approx(0), 1)
    statistic, freedom = chi_square_of_same_shares([[10, 20], [20, 10]])
    assert (statistic, freedom) == (pytest.approx(20 / 3), 1)


@QUICK
@given(st.integers(0, 500), st.integers(1, 500))
def test_bounds_contain_the_observed_share_and_mirror(count: int, more: int) -> None:
    total = count + more
    low, high = share_bounds(count, total, 0.01)
    assert 0 <= low <= count / total <= high <= 1
    assert share_bounds(more, total, 0.01) == (pytest.approx(1 - high, abs=1e-9), pytest.approx(1 - low, abs=1e-9))
    wider = share_bounds(count, total, 0.001)
    assert wider[0] <= low <= high <= wider[1]
    longer = share_bounds(10 * count, 10 * total, 0.01)
    assert longer[1] - longer[0] < high - low


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_bounds_hardly_ever_miss_the_share(share: float) -> None:
    missed = 0
    for seed in SEEDS:
        draw, count = random.Random(seed), 0
        for total in range(1, 301):
            count += draw.random() < share
            low, high = share_bounds(count, total, 0.1)
            if not low <= share <= high:
                missed += 1
                break
    assert missed <= 0.1 * len(SEEDS)


@QUICK
@given(st.lists(st.integers(0, 200), min_size=2, max_size=6))
def test_e_value_is_least_for_equal_counts(counts: list[int]) -> None:
    cells = len(counts)
    whole = [sum(counts) // cells + (place < sum(counts) % cells) for place in range(cells)]
    assert log_e_value_of_equal_shares(whole) <= log_e_value_of_equal_shares(counts) + 1e-9


def test_e_value_averages_at_one_over_all_samples() -> None:
    """That is what makes it an e-value: who bets on a fair game expects to keep the stake."""
    sides = [(ups, 8 - ups) for ups in range(9)]
    ways = [1, 8, 28, 56, 70, 56, 28, 8, 1]
    expected = sum(exp(log_e_value_of_equal_shares(side)) * way for side, way in zip(sides, ways, strict=True))
    assert expected / 2**8 == pytest.approx(1)


def test_silence_probability() -> None:
    assert silence_probability(1, 1, 0) == 1
    assert silence_probability(10, 40, 20) == pytest.approx(0.5**10)


def test_integer_ratio_is_the_smallest_that_fits() -> None:
    assert integer_ratio([0.75, 0.25], 0.02) == [3, 1]
    assert integer_ratio([0.5, 0.25, 0.25], 0.01) == [2, 1, 1]
    assert integer_ratio([0.5, 0.5], 0.2) is None  # they are the same
    assert integer_ratio([0.99, 0.01], 0.001) is None
