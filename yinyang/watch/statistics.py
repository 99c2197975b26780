"""The statistics that a verdict rests on: pure functions of counts.

A p-value holds for one look at the data: with a look after each new answer, a small one comes sooner or later.
So claims about shares rest on an e-value, the ratio of the likelihood under a mixture of all alternatives (Dirichlet,
1/2 for each cell) to the likelihood under the hypothesis. The probability that it ever reaches 1 / error while the
hypothesis is true is at most `error` (Ville's inequality), however often one looks. `share_bounds` inverts the test:
it returns the shares that the e-value does not reject.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from math import erfc, exp, inf, lgamma, log, sqrt

DIRICHLET_WEIGHT = 0.5  # of each cell, in the mixture of alternatives
BISECTION_STEPS = 50  # each of which halves the error of a share
MAX_RATIO_TOTAL = 20  # the largest sum of weights that is still a ratio people know


def chi_square_p_value(statistic: float, degrees_of_freedom: int) -> float:
    """The probability of a chi-square value at least as large, from 0 to 1."""
    x = statistic / 2
    if x <= 0 or degrees_of_freedom == 0:
        return 1.0
    order, p_value = (0.5, erfc(sqrt(x))) if degrees_of_freedom % 2 else (1.0, exp(-x))
    while order < degrees_of_freedom / 2:  # Q(a + 1, x) = Q(a, x) + x^a e^-x / gamma(a + 1)
        p_value += exp(order * log(x) - x - lgamma(order + 1))
        order += 1
    return min(p_value, 1.0)


def chi_square_of_equal_shares(counts: Sequence[int]) -> float:
    """The chi-square statistic against equal shares; its degrees of freedom are `len(counts) - 1`."""
    expected = sum(counts) / len(counts)
    return sum((count - expected) ** 2 for count in counts) / expected if expected else 0.0


def chi_square_of_same_shares(rows: Sequence[Sequence[int]]) -> tuple[float, int]:
    """The chi-square statistic against the same shares in each row of counts, and its degrees of freedom.

    The rows must have the same length, and at least one count that is not 0.
    """
    columns = [sum(column) for column in zip(*rows, strict=True)]
    total = sum(columns)
    statistic = 0.0
    for row in rows:
        for count, column in zip(row, columns, strict=True):
            if expected := sum(row) * column / total:
                statistic += (count - expected) ** 2 / expected
    return statistic, (len(rows) - 1) * (len(columns) - 1)


def log_e_value_of_equal_shares(counts: Sequence[int]) -> float:
    """The natural logarithm of the e-value against equal shares: the larger, the less likely are they equal."""
    cells, total = len(counts), sum(counts)
    log_mixture = lgamma(cells * DIRICHLET_WEIGHT) - lgamma(total + cells * DIRICHLET_WEIGHT)
    log_mixture += sum(lgamma(count + DIRICHLET_WEIGHT) - lgamma(DIRICHLET_WEIGHT) for count in counts)
    return log_mixture + total * log(cells)


@lru_cache(maxsize=4096)
def share_bounds(count: int, total: int, error: float) -> tuple[float, float]:
    """The smallest and the largest possible share of a cell that got `count` of `total`, each from 0 to 1.

    The probability that the true share is ever outside them, at any of all looks, is at most `error`.
    """
    log_mixture = lgamma(count + DIRICHLET_WEIGHT) + lgamma(total - count + DIRICHLET_WEIGHT)
    log_mixture -= lgamma(total + 1) + 2 * lgamma(DIRICHLET_WEIGHT)

    def is_possible(share: float) -> bool:
        log_likelihood = _times_log(count, share) + _times_log(total - count, 1 - share)
        return log_mixture - log_likelihood < -log(error)

    observed = count / total if total else 0.5
    return _last_possible(is_possible, observed, 0.0), _last_possible(is_possible, observed, 1.0)


def _last_possible(is_possible: Callable[[float], bool], observed: float, limit: float) -> float:
    """The share farthest from the observed one, towards the limit, that is possible; found by bisection."""
    if is_possible(limit):
        return limit
    possible, impossible = observed, limit
    for _ in range(BISECTION_STEPS):
        middle = (impossible + possible) / 2
        impossible, possible = (impossible, middle) if is_possible(middle) else (middle, possible)
    return possible


def _times_log(count: int, share: float) -> float:
    return 0.0 if count == 0 else count * log(share) if share > 0 else -inf


def silence_probability(answers: int, total: int, since_last: int) -> float:
    """How likely none of the last `since_last` of `total` answers is from a replica that gave `answers` of them."""
    return (1 - since_last / total) ** answers if total else 1.0


def repeats_z_score(repeats: int, pairs: int, expected_share: float) -> float:
    """By how many standard deviations `repeats` of `pairs` exceed the expected share of repeats."""
    deviation = sqrt(pairs * expected_share * (1 - expected_share))
    return (repeats - pairs * expected_share) / deviation if deviation else 0.0


def integer_ratio(shares: Sequence[float], margin: float) -> list[int] | None:
    """The smallest integer weights within `margin` of all shares; None if they are equal, or more than 20 in sum."""
    for total in range(len(shares) + 1, MAX_RATIO_TOTAL + 1):
        weights = [round(share * total) for share in shares]
        if sum(weights) != total or min(weights) < 1 or all(a == b for a, b in pairwise(weights)):
            continue
        if all(abs(share - weight / total) <= margin for weight, share in zip(weights, shares, strict=True)):
            return weights
    return None
