"""The statistics that a verdict rests on: pure functions of counts.

A p-value holds for one look; whoever looks again with each new answer finds a small one sooner or later. So claims rest
on an e-value: the odds against a hypothesis, betted with a mixture of all others (Dirichlet, 1/2 for each cell). The
chance that it ever reaches 1 / error while the hypothesis is true is at most `error` (Ville's inequality), however
often one looks. `bounds` turns it round: the shares that it does not speak against.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from math import erfc, exp, inf, lgamma, log, sqrt

HALF = 0.5  # the mixture's weight of a cell
STEPS = 50  # of a bisection, each of which halves the error of a share


def chi_square_chance(statistic: float, freedom: int) -> float:
    """The chance of a chi-square at least as large, with a whole number of degrees of freedom."""
    x = statistic / 2
    if x <= 0 or freedom == 0:
        return 1.0
    order, chance = (0.5, erfc(sqrt(x))) if freedom % 2 else (1.0, exp(-x))
    while order < freedom / 2:  # Q(a + 1, x) = Q(a, x) + x^a e^-x / gamma(a + 1)
        chance += exp(order * log(x) - x - lgamma(order + 1))
        order += 1
    return min(chance, 1.0)


def chi_square_even(counts: Sequence[int]) -> float:
    """The statistic of counts that would be equal; its degrees of freedom are one less than they are."""
    fair = sum(counts) / len(counts)
    return sum((count - fair) ** 2 for count in counts) / fair if fair else 0.0


def chi_square_alike(rows: Sequence[Sequence[int]]) -> tuple[float, int]:
    """The statistic and the degrees of freedom of rows of counts that would have the same shares."""
    columns = [sum(column) for column in zip(*rows, strict=True)]
    total = sum(columns)
    statistic = 0.0
    for row in rows:
        for count, column in zip(row, columns, strict=True):
            if fair := sum(row) * column / total:
                statistic += (count - fair) ** 2 / fair
    return statistic, (len(rows) - 1) * (len(columns) - 1)


def log_odds_against_even(counts: Sequence[int]) -> float:
    """The natural logarithm of the e-value against equal shares."""
    cells, total = len(counts), sum(counts)
    mixture = lgamma(cells * HALF) - lgamma(total + cells * HALF)
    mixture += sum(lgamma(count + HALF) - lgamma(HALF) for count in counts)
    return mixture + total * log(cells)


@lru_cache(maxsize=4096)
def bounds(count: int, total: int, error: float) -> tuple[float, float]:
    """The least and the greatest share of a cell that got `count` of `total`; wrong with a chance of `error`, ever."""
    mixture = lgamma(count + HALF) + lgamma(total - count + HALF) - lgamma(total + 1) - 2 * lgamma(HALF)
    limit = -log(error)

    def possible(share: float) -> bool:
        likelihood = _times_log(count, share) + _times_log(total - count, 1 - share)
        return mixture - likelihood < limit

    found = count / total if total else 0.5
    edges = []
    for outside in (0.0, 1.0):
        impossible, within = outside, found
        if possible(outside):
            within = outside
        for _ in range(STEPS):
            middle = (impossible + within) / 2
            impossible, within = (impossible, middle) if possible(middle) else (middle, within)
        edges.append(within)
    return edges[0], edges[1]


def _times_log(count: int, share: float) -> float:
    return 0.0 if count == 0 else count * log(share) if share > 0 else -inf


def silence_chance(answers: int, among: int, since: int) -> float:
    """The chance that all of a replica's `answers`, which are `among` answers of all, came before the last `since`."""
    return (1 - since / among) ** answers if among else 1.0


def staying_z(stays: int, pairs: int, expected: float) -> float:
    """By how many standard deviations more pairs stayed than the `expected` share of them."""
    spread = sqrt(pairs * expected * (1 - expected))
    return (stays - pairs * expected) / spread if spread else 0.0


def whole_ratio(shares: Sequence[float], margin: float, most: int = 20) -> list[int] | None:
    """The smallest whole weights, `most` or less in sum and not all the same, that are so close to the shares."""
    for total in range(len(shares) + 1, most + 1):
        weights = [round(share * total) for share in shares]
        if sum(weights) != total or min(weights) < 1 or all(a == b for a, b in pairwise(weights)):
            continue
        if all(abs(share - weight / total) <= margin for weight, share in zip(weights, shares, strict=True)):
            return weights
    return None
