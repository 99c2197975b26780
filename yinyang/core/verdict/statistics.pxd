"""The statistics that a verdict rests on: functions of counts.

A p-value holds for one look at the data: with a look after each new answer, a small one comes sooner or later. So
claims about shares rest on ratios of likelihoods, where the likelihood of "any shares" is a mixture (Dirichlet, 1/2 for
each cell). The probability that such a ratio ever reaches 1 / error while the simpler hypothesis is true is at most
`error`, however often one looks (Ville's inequality; Robbins, "Statistical methods related to the law of the iterated
logarithm", 1970).
"""

from libc.math cimport lgamma, log, sqrt
from libc.stdint cimport int64_t

cdef enum:
    BISECTION_STEPS = 40  # each halves the error of a share


cdef inline double log_likelihood_of_any(const int64_t *counts, int cells) noexcept nogil:
    """The logarithm of the likelihood of a sequence with these counts, under the mixture of all shares."""
    cdef double half = lgamma(0.5)
    cdef double sum = 0
    cdef int64_t total = 0
    cdef int i
    for i in range(cells):
        sum += lgamma(<double>counts[i] + 0.5) - half
        total += counts[i]
    return sum + lgamma(cells * 0.5) - lgamma(<double>total + cells * 0.5)


cdef inline double log_evidence_of_change(
    const int64_t *before, const int64_t *after, int64_t *both, int cells
) noexcept nogil:
    """How much likelier two groups of answers are with shares of their own than with the same ones: the logarithm of
    the ratio. `both` gets the sums of the counts."""
    cdef int i
    for i in range(cells):
        both[i] = before[i] + after[i]
    return (
        log_likelihood_of_any(before, cells) + log_likelihood_of_any(after, cells) - log_likelihood_of_any(both, cells)
    )


cdef inline double log_evidence_of_unequal(const int64_t *counts, int cells, int64_t total) noexcept nogil:
    """How much likelier the counts are with any shares than with equal ones: the logarithm of the ratio."""
    return log_likelihood_of_any(counts, cells) + <double>total * log(<double>cells)


cdef inline double times_log(double count, double share) noexcept nogil:
    if count <= 0:
        return 0
    return count * log(share) if share > 0 else -1e300


cdef inline double least_log_likelihood(double count, double total, double error) noexcept nogil:
    """Of a share that is possible. The probability that the true share is ever called impossible, at any of all looks,
    is at most `error`."""
    return lgamma(count + 0.5) + lgamma(total - count + 0.5) - lgamma(total + 1) - 2 * lgamma(0.5) + log(error)


cdef inline double log_likelihood(double count, double total, double share) noexcept nogil:
    return times_log(count, share) + times_log(total - count, 1 - share)


cdef inline bint is_possible(double count, double total, double share, double error) noexcept nogil:
    return log_likelihood(count, total, share) > least_log_likelihood(count, total, error)


cdef inline double share_bound(double count, double total, double error, double limit) noexcept nogil:
    """The possible share that is farthest from the observed one, towards the limit (0 or 1)."""
    cdef double least = least_log_likelihood(count, total, error)
    cdef double possible = count / total if total > 0 else 0.5
    cdef double impossible = limit
    cdef double middle
    cdef int _
    if log_likelihood(count, total, limit) > least:
        return limit
    for _ in range(BISECTION_STEPS):
        middle = (possible + impossible) / 2
        if log_likelihood(count, total, middle) > least:
            possible = middle
        else:
            impossible = middle
    return possible


cdef inline int64_t samples_for_one(double unnoticed, double error) noexcept nogil:
    """How many answers of one replica it takes to know that all others together have less than this share."""
    cdef int64_t total = 1
    while is_possible(<double>total, <double>total, 1 - unnoticed, error):
        total += 1
    return total


cdef inline int64_t samples_for_even(int cells, double tolerance, double error) noexcept nogil:
    """How many answers it takes to know that each share is within `tolerance` (a part of an equal share) of an equal
    one: in the median, where they are equal and answers are drawn at random."""
    cdef int64_t too_few = 0
    cdef int64_t enough = 1
    cdef int64_t middle
    while not is_enough_for_even(enough, cells, tolerance, error):
        too_few = enough
        enough *= 2
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if is_enough_for_even(middle, cells, tolerance, error):
            enough = middle
        else:
            too_few = middle
    return enough * cells


cdef inline bint is_enough_for_even(int64_t each, int cells, double tolerance, double error) noexcept nogil:
    # the cell that is farthest from its share is off by about so many standard deviations, in the median
    cdef double deviations = sqrt(2 * log(<double>cells)) - 0.45
    cdef double count = <double>each + deviations * sqrt(<double>each * (1 - 1.0 / cells))
    return not is_possible(count, <double>(each * cells), (1 + tolerance) / cells, error)
