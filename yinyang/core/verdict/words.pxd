"""A verdict in words: a headline, and what it rests on."""

from libc.math cimport sqrt
from libc.stdint cimport int64_t

from ..text.buffer cimport Text, llu, text_format, text_number, text_put, text_string
from .evidence cimport (
    CHANGE_CAME, CHANGE_RESTARTED, CHANGE_RETURNED, SOURCES_MAX, TIE_COOKIE
)
from .verdict cimport (
    EVEN_TOLERANCE, FAILURES_AT_FIRST, SPREAD_EARLY, SPREAD_EVEN, SPREAD_EVEN_SO_FAR, SPREAD_NOTHING, SPREAD_ONE,
    SPREAD_ONE_SO_FAR, SPREAD_RUNS, SPREAD_SHIFTING, SPREAD_TURNS, SPREAD_UNEVEN_SO_FAR, SPREAD_WEIGHTED,
    STATE_CHANGED, STATE_DOWN, STATE_FAILING, STATE_FINE, STATE_NOTHING, STATE_RECOVERING, STATE_SILENT,
    STATE_WAITING, SUBJECTS_MAX, Verdict
)

cdef extern from "verdict.h" nogil:
    const char *const failure_words[][3]
    const char *const state_words[]
    const char *const spread_words[]
    enum:
        FAILURE_KINDS
        FAILURE_TIMED_OUT

cdef enum:
    FEW_SAMPLES = 9  # of which no part is told
    SHARES_NAMED = 4  # sources whose shares are named

cdef struct Name:
    const char *bytes
    size_t length

cdef struct Naming:
    const Name *names  # of the sources
    const char *one  # what a source is: a replica, a version ...
    const char *several

cdef inline void text_name(Text *text, const Naming *naming, int source) noexcept nogil:
    text_put(text, naming.names[source].bytes, naming.names[source].length)


cdef inline void text_seconds(Text *text, int64_t ms) noexcept nogil:
    cdef int64_t seconds = (ms + 500) // 1000
    if seconds < 120:
        text_format(text, "%llu s", <llu>seconds)
    elif seconds < 7200:
        text_format(text, "%llu min", <llu>(seconds + 30) // 60)
    else:
        text_format(text, "%llu h", <llu>(seconds + 1800) // 3600)


cdef inline void text_tenths(Text *text, double number) noexcept nogil:
    """Below 10 with a tenth, if it has one."""
    cdef int64_t tenths = <int64_t>(number * 10 + 0.5)
    if tenths >= 100:
        tenths = (tenths + 5) // 10 * 10
    text_number(text, <llu>(tenths // 10))
    if tenths % 10:
        text_format(text, ".%llu", <llu>(tenths % 10))


cdef inline void text_percent(Text *text, double share, double margin) noexcept nogil:
    """With a tenth only where it is known, or where there would be nothing else."""
    if margin < 0.01 or share < 0.01:
        text_tenths(text, 100 * share)
    else:
        text_number(text, <llu>(100 * share + 0.5))
    text_string(text, " %")


cdef inline void text_about(Text *text, int64_t number) noexcept nogil:
    """With two digits that are not 0."""
    cdef int64_t unit = 1
    while number >= 100 * unit:
        unit *= 10
    text_number(text, <llu>((number + unit // 2) // unit * unit))


cdef inline void text_margin(Text *text, double margin) noexcept nogil:
    text_string(text, "\xc2\xb1")
    text_tenths(text, max(100 * margin, 0.1))
    text_string(text, " points")


cdef inline const char *verdict_kind(const Verdict *v) noexcept nogil:
    """One word, or a few, for programs."""
    if v.state:
        return state_words[v.state]
    if v.tie:
        return "sticky by cookie" if v.tie == TIE_COOKIE else "sticky by connection"
    return spread_words[v.spread]


cdef inline void text_count(Text *text, int64_t number, const char *one, const char *several) noexcept nogil:
    text_number(text, <llu>number)
    text_string(text, " ")
    text_string(text, one if number == 1 else several)


# ---- the headline -------------------------------------------------------------------------------------------------

cdef inline void text_headline(Text *text, const Verdict *v, const Naming *naming) noexcept nogil:
    if v.state == STATE_NOTHING:
        text_string(text, "waiting for the first answer")
    elif v.state == STATE_WAITING:
        text_count(text, v.waiting, "request waits for an answer, for ", "requests wait for an answer, for ")
        text_seconds(text, v.for_ms)
    elif v.state == STATE_DOWN:
        text_string(text, "every request fails: ")
        text_failure(text, v, naming)
    elif v.state == STATE_FAILING:
        text_fraction(text, v)
        text_failure(text, v, naming)
    elif v.state == STATE_RECOVERING:
        text_string(text, "no failure for ")
        text_seconds(text, v.calm_ms)
    elif v.state == STATE_CHANGED:
        text_change(text, v, naming)
    elif v.state == STATE_SILENT:
        text_subjects(text, v, naming)
        text_string(text, " may be gone")
    elif v.tie:
        text_string(text, "sticky by cookie" if v.tie == TIE_COOKIE else "sticky by connection")
    else:
        text_spread(text, v, naming)


cdef inline void text_fraction(Text *text, const Verdict *v) noexcept nogil:
    """1 in 3 requests fails, 2 in 3 fail, or 42 % fail: the simplest that is within a standard error, or 3 points."""
    cdef double part = <double>v.failures / <double>v.failure_samples
    cdef double margin = max(0.03, sqrt(part * (1 - part) / <double>v.failure_samples))
    cdef double error
    cdef int whole, failed
    if v.failures < FAILURES_AT_FIRST or v.failure_samples < FEW_SAMPLES:
        text_count(text, v.failures, "request", "requests")
        text_string(text, " failed: ")
        return
    if v.failures == v.failure_samples:  # too few to say that all do
        text_number(text, <llu>v.failures)
        text_string(text, " requests in a row failed: ")
        return
    for whole in range(2, 11):
        failed = <int>(part * whole + 0.5)
        error = part - <double>failed / whole
        if (failed == 1 or whole <= 5) and 0 < failed < whole and -margin <= error <= margin:
            text_format(text, "%llu in %llu requests ", <llu>failed, <llu>whole)
            text_string(text, "fails: " if failed == 1 else "fail: ")
            return
    text_percent(text, part, 1)
    text_string(text, " of requests fail: ")


cdef inline void text_failure(Text *text, const Verdict *v, const Naming *naming) noexcept nogil:
    """What fails, whose it is, and for how long."""
    text_cause(text, v, naming)
    if v.failures >= FAILURES_AT_FIRST:
        text_string(text, ", for ")
        text_seconds(text, v.for_ms)
    text_silent(text, v, naming)


cdef inline bint names_subjects(const Verdict *v) noexcept nogil:
    """Whether the failure is said of its subjects. Who times out does not answer: so a silent source fails."""
    return v.subject_count > 0 and (not v.is_inferred or v.failure == FAILURE_TIMED_OUT)


cdef inline void text_cause(Text *text, const Verdict *v, const Naming *naming) noexcept nogil:
    if names_subjects(v):
        text_subjects(text, v, naming)
        text_string(text, " ")
        text_failure_word(text, v.failure, 1 if v.subject_count == 1 else 2)
    else:
        text_failure_word(text, v.failure, 0)


cdef inline void text_silent(Text *text, const Verdict *v, const Naming *naming) noexcept nogil:
    """Who is silent, and so may be the cause."""
    if v.subject_count and not names_subjects(v):
        text_string(text, "; ")
        text_subjects(text, v, naming)
        text_string(text, " is silent" if v.subject_count == 1 else " are silent")


cdef inline void text_failure_word(Text *text, int failure, int form) noexcept nogil:
    """form: 0 by itself, 1 of one source, 2 of several."""
    if 0 <= failure < FAILURE_KINDS:
        text_string(text, failure_words[failure][form])
        return
    text_string(text, "HTTP " if form == 0 else "answers " if form == 1 else "answer ")
    text_number(text, <llu>failure)


cdef inline void text_change(Text *text, const Verdict *v, const Naming *naming) noexcept nogil:
    if v.subject_count == 1:
        text_name(text, naming, v.subjects[0])
        text_string(text, " has come" if v.change == CHANGE_CAME else " is back" if v.change == CHANGE_RETURNED else
                    " has restarted" if v.change == CHANGE_RESTARTED else " is gone")
        return
    text_format(text, "%llu %s ", <llu>v.subject_count, naming.several)
    text_string(text, "have come" if v.change == CHANGE_CAME else "are back" if v.change == CHANGE_RETURNED else
                "have restarted" if v.change == CHANGE_RESTARTED else "are gone")


cdef inline void text_subjects(Text *text, const Verdict *v, const Naming *naming) noexcept nogil:
    cdef int i
    if v.subject_count > SUBJECTS_MAX:
        text_format(text, "%llu %s", <llu>v.subject_count, naming.several)
        return
    for i in range(v.subject_count):
        if i:
            text_string(text, " and " if i == v.subject_count - 1 else ", ")
        text_name(text, naming, v.subjects[i])


cdef inline void text_spread(Text *text, const Verdict *v, const Naming *naming) noexcept nogil:
    if v.spread == SPREAD_NOTHING:
        text_string(text, "nobody has answered yet")
    elif v.spread == SPREAD_ONE_SO_FAR:
        text_string(text, "only ")
        text_ranked(text, v, naming, 1, False)
        text_string(text, " so far")
    elif v.spread == SPREAD_ONE:
        text_format(text, "one %s only: ", naming.one)
        text_ranked(text, v, naming, 1, False)
    elif v.spread == SPREAD_EARLY:
        text_format(text, "%llu %s so far", <llu>v.active, naming.several)
    elif v.spread == SPREAD_SHIFTING:
        text_string(text, "shares are shifting")
    elif v.spread == SPREAD_RUNS:
        text_string(text, "answers come in runs")
    elif v.spread == SPREAD_EVEN_SO_FAR:
        text_format(text, "about even so far: %llu %s", <llu>v.active, naming.several)
    elif v.spread == SPREAD_EVEN:
        text_format(text, "even across %llu: each gets ", <llu>v.active)
        text_percent(text, 1.0 / v.active, 1)
    elif v.spread == SPREAD_TURNS and is_equal(v):
        text_format(text, "%llu %s take turns", <llu>v.active, naming.several)
    elif v.active > SHARES_NAMED:
        text_string(text, "uneven: ")
        text_ranked(text, v, naming, 1, True)
        text_string(text, " at most")
    else:
        if v.spread == SPREAD_UNEVEN_SO_FAR:
            text_string(text, "uneven so far: ")
        elif is_slight(v):
            text_string(text, "slightly uneven: ")
        text_ranked(text, v, naming, v.active, True)


cdef inline bint is_equal(const Verdict *v) noexcept nogil:
    """Whether each share is exactly an equal one."""
    cdef int i
    for i in range(SOURCES_MAX):
        if v.high[i] > 0 and (v.high[i] - v.low[i] > 1e-9 or abs(v.high[i] * v.active - 1) > 1e-9):
            return False
    return True


cdef inline bint is_slight(const Verdict *v) noexcept nogil:
    """Whether each share is about equal, though not equal."""
    cdef double equal = 1.0 / v.active
    cdef int i
    for i in range(SOURCES_MAX):
        if v.high[i] > 0 and (
            v.high[i] - equal > EVEN_TOLERANCE * equal or equal - v.low[i] > EVEN_TOLERANCE * equal
        ):
            return False
    return True


cdef inline void text_ranked(Text *text, const Verdict *v, const Naming *naming, int number,
                             bint with_shares) noexcept nogil:
    """So many sources, the one with the largest share first."""
    cdef int previous = -1
    cdef int rank, best, i
    for rank in range(number):
        best = -1
        for i in range(SOURCES_MAX):
            if v.high[i] > 0 and comes_after(v, i, previous) and (best < 0 or comes_after(v, best, i)):
                best = i
        if best < 0:
            return
        if rank:
            text_string(text, ", ")
        text_name(text, naming, best)
        if with_shares:
            text_string(text, " gets " if rank == 0 else " ")
            text_percent(text, v.seen[best], v.margin)
        previous = best


cdef inline bint comes_after(const Verdict *v, int source, int other) noexcept nogil:
    """Whether it has the smaller share, or the same and the larger number."""
    if other < 0:
        return True
    if v.seen[source] == v.seen[other]:
        return source > other
    return v.seen[source] < v.seen[other]


# ---- what it rests on ---------------------------------------------------------------------------------------------

cdef inline void text_detail(Text *text, const Verdict *v, const Naming *naming) noexcept nogil:
    if v.state == STATE_DOWN:
        text_format(text, "%llu in a row", <llu>v.failures)
    elif v.state == STATE_FAILING:
        text_format(text, "%llu of the last %llu", <llu>v.failures, <llu>v.failure_samples)
    elif v.state == STATE_RECOVERING:
        text_format(text, "%llu of the last %llu failed: ", <llu>v.failures, <llu>v.failure_samples)
        text_cause(text, v, naming)
        text_silent(text, v, naming)
    elif v.state == STATE_SILENT:
        text_string(text, "silent for ")
        text_seconds(text, v.for_ms)
    elif v.state == STATE_CHANGED:
        text_seconds(text, v.for_ms)
        text_string(text, " ago; ")
        if not v.tie:
            text_spread(text, v, naming)
            return
        text_string(text, "sticky")
    elif v.state != STATE_FINE:
        return
    elif v.tie:
        text_format(text, "all %llu that ", <llu>v.led)
        text_string(text, "carried a cookie" if v.tie == TIE_COOKIE else "used a connection again")
        text_string(text, " went back; others: ")
        text_spread(text, v, naming)
    else:
        text_basis(text, v, naming)


cdef inline void text_basis(Text *text, const Verdict *v, const Naming *naming) noexcept nogil:
    """How precise the spread is, or how it will be known."""
    cdef int i
    cdef double low = 1
    cdef double high = 0
    if v.spread == SPREAD_TURNS:
        if v.period == v.active:
            text_percent(text, 1.0 / v.active, 0)
            text_string(text, " each, one after the other")
        else:
            text_format(text, "exactly: the order repeats every %llu answers", <llu>v.period)
        return
    if v.spread == SPREAD_ONE:
        text_string(text, "another would get less than ")
        for i in range(SOURCES_MAX):
            if v.high[i] > 0:
                text_percent(text, 1 - v.low[i], 1)
        text_string(text, "; ")
    elif v.spread == SPREAD_EVEN or v.spread == SPREAD_WEIGHTED:
        text_margin(text, v.margin)
        text_string(text, "; ")
    elif v.spread == SPREAD_EVEN_SO_FAR:
        for i in range(SOURCES_MAX):
            if v.high[i] > 0:
                low = min(low, v.low[i])
                high = max(high, v.high[i])
        text_string(text, "each gets ")
        text_percent(text, low, 1)
        text_string(text, " to ")
        text_percent(text, high, 1)
        text_string(text, "; ")
    elif v.spread == SPREAD_RUNS:
        text_format(text, "the same %s again and again, so shares prove nothing; ", naming.one)
    if v.more and v.spread != SPREAD_EARLY:
        text_string(text, "about ")
        text_about(text, v.more)
        text_string(text, " more to be sure")
    else:
        text_count(text, v.samples, "sample", "samples")
