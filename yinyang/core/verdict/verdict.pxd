"""The verdict: what the samples show, as numbers; words.pxd has it in words, and docs/verdict.md is the specification.

A verdict has up to three findings, of which the first that there is makes the headline:
    state   what is wrong, or has just changed
    tie     what leads requests to the same source again and again
    spread  how the balancer shares requests out
"""

from libc.math cimport log, log1p
from libc.stdint cimport int64_t
from libc.string cimport memset

from .evidence cimport (
    CHANGE_CAME, CHANGE_SHOWN, CHANGE_WENT, Draws, Evidence, FAILURE_SAMPLES,
    FAILURE_WINDOW, FAILURE_WINDOW_MAX, LATEST_MAX, NO_SOURCE, RECENT_MAX, Recent, SOURCES_MAX, comes_in_runs,
    may_be_gone, segment_draws, still_fails
)
from .statistics cimport log_evidence_of_unequal, samples_for_even, samples_for_one, share_bound

cdef extern from "verdict.h" nogil:
    const double CLAIM_ERROR
    const double EVEN_TOLERANCE
    const double MAX_MARGIN
    const double SHIFT_EVIDENCE
    const double SILENT_CHANCE
    const double STICKY_CHANCE
    const double UNNOTICED_SHARE

cdef enum State:
    STATE_FINE
    STATE_NOTHING  # nothing has ended yet
    STATE_WAITING  # requests wait, and nothing ends
    STATE_DOWN  # every request fails
    STATE_FAILING  # some requests fail
    STATE_RECOVERING  # they did, not long ago
    STATE_CHANGED  # somebody has just come or gone
    STATE_SILENT  # somebody may be gone

cdef enum Spread:
    SPREAD_NOTHING
    SPREAD_ONE_SO_FAR
    SPREAD_ONE
    SPREAD_EARLY  # too few samples to say anything of shares
    SPREAD_TURNS  # a rotation, whose shares are exact
    SPREAD_SHIFTING
    SPREAD_RUNS
    SPREAD_EVEN_SO_FAR
    SPREAD_EVEN
    SPREAD_UNEVEN_SO_FAR
    SPREAD_WEIGHTED

cdef enum:
    WAITING_AFTER = 1500  # ms without an end, before it is said that requests wait
    FAILURES_OF_DOWN = 5  # in a row, at least
    FAILURES_AT_FIRST = 3  # ... where there was no answer yet
    ENOUGH_OF_EACH = 5  # choices, to say anything of shares
    SUBJECTS_MAX = 3  # sources that are named
    STATUS_END = 600  # above all statuses

cdef struct Verdict:
    int state
    int64_t for_ms  # how long the state lasts
    int subjects[SUBJECTS_MAX]  # the sources that fail, came, went or are silent
    int subject_count  # it may be more than SUBJECTS_MAX
    bint is_inferred  # that the subject fails, as it is silent
    int failure  # the most frequent kind
    int64_t calm_ms  # since the last failure
    int64_t failures, failure_samples  # so many of so many lately; STATE_DOWN: in a row, and the same
    int64_t waiting  # requests
    int change

    int tie
    int64_t led  # samples that it rests on

    int spread
    int active  # sources that are there
    int64_t samples  # that the spread rests on
    int64_t more  # samples that it takes to be sure
    int period  # of the rotation
    double low[SOURCES_MAX]  # the least possible share of each source
    double seen[SOURCES_MAX]
    double high[SOURCES_MAX]
    double margin  # the largest distance from the claimed share to a bound


cdef inline void verdict_find(Verdict *v, const Evidence *e, int64_t now, int64_t waiting,
                              int64_t waiting_since) noexcept nogil:
    """What is known now; `waiting` requests are under way, the first of them since `waiting_since`."""
    cdef bint is_news
    memset(v, 0, sizeof(v[0]))
    find_spread(v, e)
    find_tie(v, e)
    if is_waiting(v, e, now, waiting, waiting_since):
        v.state = STATE_WAITING
    elif e.samples == 0:
        v.state = STATE_NOTHING
    elif is_down(v, e, now):
        v.state = STATE_DOWN
    elif is_failing(v, e, now):
        v.state = STATE_FAILING
        if has_recovered(v, e):  # then what has happened since is news
            is_news = e.changed_at > e.last_failure_at and has_changed(v, e, now)
            v.state = STATE_CHANGED if is_news else STATE_RECOVERING
    elif has_changed(v, e, now):
        v.state = STATE_CHANGED
    elif is_silent(v, e, now):
        v.state = STATE_SILENT


# ---- state --------------------------------------------------------------------------------------------------------

cdef inline const Recent *recent_sample(const Evidence *e, int64_t back) noexcept nogil:
    """The latest one (0), or one before it."""
    return &e.recent[(e.samples - 1 - back) % RECENT_MAX]


cdef inline bint is_waiting(Verdict *v, const Evidence *e, int64_t now, int64_t waiting,
                            int64_t waiting_since) noexcept nogil:
    cdef int64_t since = waiting_since
    cdef int64_t limit = WAITING_AFTER
    if not waiting:
        return False
    if e.samples:
        since = max(since, recent_sample(e, 0).at)
    if e.samples > FAILURE_SAMPLES:  # relative to the rate
        limit = max(limit, 4 * (recent_sample(e, 0).at - recent_sample(e, FAILURE_SAMPLES).at) // FAILURE_SAMPLES)
    v.waiting = waiting
    v.for_ms = now - since
    return v.for_ms > limit


cdef inline bint is_down(Verdict *v, const Evidence *e, int64_t now) noexcept nogil:
    """Whether so many failures in a row are more than chance, given how many failed before them; and, where there are
    several sources, if half of them fail since the first of these failures."""
    cdef int64_t failed = 0
    cdef int64_t before = 0
    cdef int64_t back = e.failures_in_a_row
    cdef double part
    if e.failures_in_a_row < (FAILURES_OF_DOWN if e.last_answer_at >= 0 else FAILURES_AT_FIRST):
        return False
    while back < min(e.samples, RECENT_MAX) and before < 2 * FAILURE_SAMPLES:
        failed += recent_sample(e, back).failure >= 0
        before += 1
        back += 1
    part = (<double>failed + 0.5) / (<double>before + 1)
    if sources_at_first_failure(e) > 1:
        part = max(part, 0.5)
    if before and <double>e.failures_in_a_row * log(part) > STICKY_CHANCE:
        return False
    note_failures(v, e, min(e.failures_in_a_row, RECENT_MAX))
    v.failures = v.failure_samples = e.failures_in_a_row
    v.for_ms = now - (e.last_answer_at if e.last_answer_at >= 0 else e.failing_since)
    return True


cdef inline int sources_at_first_failure(const Evidence *e) noexcept nogil:
    """Or not long before, as a request may time out long after its source went."""
    cdef int count = e.active
    cdef int i
    for i in range(SOURCES_MAX):
        count += e.sources[i].went_at >= max(e.failing_since - FAILURE_WINDOW_MAX, 0)
    return count


cdef inline bint is_failing(Verdict *v, const Evidence *e, int64_t now) noexcept nogil:
    """Whether some have failed lately, and how many of those since the first one."""
    cdef int64_t since_first = e.samples - e.first_failure
    cdef int64_t number = 0
    cdef int64_t age
    if not still_fails(e, now):
        return False
    while number < min(since_first + 1, RECENT_MAX):
        age = now - recent_sample(e, number).at
        if (age > FAILURE_WINDOW and number >= FAILURE_SAMPLES) or age > FAILURE_WINDOW_MAX:
            break
        number += 1
    note_failures(v, e, number)
    if v.failures == 0:
        return False  # so many samples have followed that none of those is kept
    v.for_ms = now - e.failing_since
    v.calm_ms = now - e.last_failure_at
    if v.failures > FAILURES_AT_FIRST and number == since_first + 1:
        v.failures -= 1  # by which it began; what follows shows how many fail
        v.failure_samples -= 1
    return True


cdef inline bint has_recovered(Verdict *v, const Evidence *e) noexcept nogil:
    """Whether so many answers since the last failure are more than chance."""
    cdef int64_t since = e.samples - e.last_failure
    cdef int64_t before = v.failure_samples - since
    if v.failures < FAILURES_AT_FIRST or before <= v.failures:
        return since >= FAILURE_SAMPLES
    return <double>since * log1p(-<double>v.failures / <double>before) < SILENT_CHANCE


cdef inline void note_failures(Verdict *v, const Evidence *e, int64_t number) noexcept nogil:
    """The most frequent failure of the latest samples, of several the latest, and whose it is."""
    cdef int64_t counts[SOURCES_MAX]
    cdef int64_t kinds[STATUS_END]
    cdef int64_t back
    cdef int64_t attributed = 0
    cdef const Recent *one
    cdef int i
    memset(counts, 0, sizeof(counts))
    memset(kinds, 0, sizeof(kinds))
    for back in range(number):
        one = recent_sample(e, back)
        if one.failure < 0:
            continue
        v.failures += 1
        if one.source != NO_SOURCE:
            counts[one.source] += 1
            attributed += 1
        kinds[one.failure] += 1
    v.failure_samples = number
    v.failure = -1
    if v.failures == 0:
        return
    for back in range(number):
        one = recent_sample(e, back)
        if one.failure >= 0 and (v.failure < 0 or kinds[one.failure] > kinds[v.failure]):
            v.failure = one.failure
    if 2 * attributed > v.failures:
        for i in range(SOURCES_MAX):
            if counts[i]:
                add_subject(v, i)
        return
    for i in range(SOURCES_MAX):  # who has fallen silent since is the likely cause
        if may_be_gone(e, i) or e.sources[i].went_at >= e.failing_since:
            add_subject(v, i)
    v.is_inferred = v.subject_count > 0


cdef inline void add_subject(Verdict *v, int source) noexcept nogil:
    if v.subject_count < SUBJECTS_MAX:
        v.subjects[v.subject_count] = source
    v.subject_count += 1


cdef inline bint has_changed(Verdict *v, const Evidence *e, int64_t now) noexcept nogil:
    if not (CHANGE_CAME <= e.change <= CHANGE_WENT) or now - e.changed_at >= CHANGE_SHOWN:
        return False
    v.change = e.change
    v.for_ms = now - e.changed_at
    v.subjects[0] = e.change_source
    v.subject_count = <int>e.changes
    return True


cdef inline bint is_silent(Verdict *v, const Evidence *e, int64_t now) noexcept nogil:
    cdef int i
    for i in range(SOURCES_MAX):
        if may_be_gone(e, i):
            add_subject(v, i)
            v.for_ms = max(v.for_ms, now - e.sources[i].last_at)
    return v.subject_count > 0


# ---- tie and spread -----------------------------------------------------------------------------------------------

cdef inline void find_tie(Verdict *v, const Evidence *e) noexcept nogil:
    """Do samples that something led always come to their owner, where there are several sources? If nothing led them,
    the others show how likely that is, and so do all: where connections are kept, there are few others."""
    if not e.led or e.misses:
        return
    if min(log_chance_of_hits(e, &e.free), log_chance_of_hits(e, &e.all)) < STICKY_CHANCE:
        v.tie = e.tie
        v.led = e.led


cdef inline double log_chance_of_hits(const Evidence *e, const Draws *d) noexcept nogil:
    """How likely so many choices are to come to their owners by chance (logarithm), given other choices, or all."""
    cdef double log_chance = 0
    cdef int spread_over = 0
    cdef int i
    for i in range(SOURCES_MAX):
        spread_over += d.counts[i] > 0
        if e.hits[i]:
            log_chance += <double>e.hits[i] * log(
                share_bound(<double>d.counts[i], <double>d.total, CLAIM_ERROR, 1)
            )
    return log_chance if spread_over > 1 else 0


cdef inline void find_spread(Verdict *v, const Evidence *e) noexcept nogil:
    cdef const Draws *d = segment_draws(e)
    cdef int64_t counts[SOURCES_MAX]
    cdef int cells[SOURCES_MAX]
    cdef int64_t fewest
    cdef bint is_known
    cdef int k = 0
    cdef int i
    v.samples = d.total
    v.active = e.active
    if e.active == 0:
        return
    for i in range(SOURCES_MAX):
        if e.sources[i].is_active:
            cells[k] = i
            counts[k] = d.counts[i]
            k += 1
    note_shares(v, d, cells, k)
    fewest = counts[0]
    for i in range(k):
        fewest = min(fewest, counts[i])
    if k == 1:
        judge_one(v, cells[0])
    elif d.period and (d.broken_at < 0 or d.total - d.broken_at <= 2 * d.period + 2):
        note_rotation(v, d)
    elif e.shift_evidence > SHIFT_EVIDENCE or (d.period and e.shift_evidence > 0):
        v.spread = SPREAD_SHIFTING
    elif d.period:
        v.spread = SPREAD_EARLY  # its order is another one; wait and see
    elif comes_in_runs(d) and fewest >= ENOUGH_OF_EACH:
        v.spread = SPREAD_RUNS
    elif log_evidence_of_unequal(counts, k, d.total) > -log(CLAIM_ERROR):
        is_known = fewest >= ENOUGH_OF_EACH and v.margin <= MAX_MARGIN
        v.spread = SPREAD_WEIGHTED if is_known else SPREAD_UNEVEN_SO_FAR
    else:
        judge_even(v, cells, k, fewest)


cdef inline void note_shares(Verdict *v, const Draws *d, const int *cells, int k) noexcept nogil:
    cdef double total = <double>d.total
    cdef double count
    cdef int i, source
    for i in range(k):
        source = cells[i]
        count = <double>d.counts[source]
        v.seen[source] = count / total if d.total else 0
        v.low[source] = share_bound(count, total, CLAIM_ERROR / k, 0)
        v.high[source] = share_bound(count, total, CLAIM_ERROR / k, 1)
        v.margin = max(v.margin, v.high[source] - v.seen[source], v.seen[source] - v.low[source])


cdef inline void judge_one(Verdict *v, int source) noexcept nogil:
    v.spread = SPREAD_ONE if v.low[source] >= 1 - UNNOTICED_SHARE else SPREAD_ONE_SO_FAR
    v.more = max(samples_for_one(UNNOTICED_SHARE, CLAIM_ERROR) - v.samples, 0)


cdef inline void note_rotation(Verdict *v, const Draws *d) noexcept nogil:
    """The shares of a rotation are those of its latest turn before it was broken, and are known exactly."""
    cdef int64_t end = d.total if d.broken_at < 0 else d.broken_at
    cdef int i
    memset(v.seen, 0, sizeof(v.seen))
    for i in range(d.period):
        v.seen[d.latest[(end - 1 - i) % LATEST_MAX]] += 1.0 / d.period
    for i in range(SOURCES_MAX):
        v.low[i] = v.high[i] = v.seen[i]
    v.margin = 0
    v.period = d.period
    v.spread = SPREAD_TURNS


cdef inline void judge_even(Verdict *v, const int *cells, int k, int64_t fewest) noexcept nogil:
    """Shares are not known to be unequal: are they known to be about equal?"""
    cdef double equal = 1.0 / k
    cdef double margin = 0
    cdef int i
    for i in range(k):
        margin = max(margin, v.high[cells[i]] - equal, equal - v.low[cells[i]])
    v.more = max(samples_for_even(k, EVEN_TOLERANCE, CLAIM_ERROR / k) - v.samples, v.samples // 10)
    if margin <= EVEN_TOLERANCE * equal:
        v.spread = SPREAD_EVEN
        v.margin = margin
        v.more = 0
    else:
        v.spread = SPREAD_EARLY if fewest < ENOUGH_OF_EACH else SPREAD_EVEN_SO_FAR
