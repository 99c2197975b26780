"""What samples show about a balancer, kept up to date with each sample; docs/verdict.md is the specification.

Shares mean something only while the same sources are there. So answers are divided into segments: a new one begins when
a source answers for the first time, or again after it was gone, or was started anew, or is gone, when shares have
changed, and when requests stop failing. Where a segment begins depends only on what came before, so that answers within
it are still independent.

A source is what answers are counted by: a replica, or all replicas of a version, a zone or a node. Sources are numbers
below SOURCES_MAX. Memory is constant.
"""

from libc.math cimport log, log1p
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memset

from .statistics cimport log_evidence_of_change

cdef enum:
    NO_SOURCE = -1
    SOURCES_MAX = 256
    RECENT_MAX = 2048  # samples that are kept
    HISTORY_MAX = 1024  # choices of a segment that are kept
    PERIOD_MAX = SOURCES_MAX  # of a rotation that is noticed
    LATEST_MAX = 2048  # choices in which its last turn is still found, as long as it may be broken

    MIN_TEST_INTERVAL = 16  # choices, from one test for a change to the next
    FAILURE_WINDOW = 5000  # ms over which failures are told
    FAILURE_SAMPLES = 15  # the least number of samples over which they are, ...
    FAILURE_WINDOW_MAX = 30000  # ms ... which may take so long
    FAILURES_THAT_DISTURB = 3  # so many of them make shares that were measured meanwhile worthless
    CHANGE_SHOWN = 5000  # ms that a change is told

cdef enum Tie:  # what a request carried that may lead it to a certain source
    TIE_NONE
    TIE_COOKIE
    TIE_CONNECTION

cdef enum Change:  # what began a segment
    CHANGE_NONE
    CHANGE_CAME
    CHANGE_RETURNED
    CHANGE_RESTARTED
    CHANGE_WENT
    CHANGE_SHARES
    CHANGE_RECOVERED

cdef extern from "verdict.h" nogil:
    const double GONE_CHANCE
    const double SILENT_CHANCE
    const double CHANGE_EVIDENCE
    const double RUNS_DEVIATIONS
    const double UNNOTICED_SHARE

cdef struct Sample:
    int64_t at  # ms on any clock, when it ended; never before the one before it
    int source  # that answered, or whose failure it is; NO_SOURCE if nobody knows
    int failure  # its kind, a status or below FAILURE_KINDS; -1: it was answered as it should
    int tie
    int owner  # the source that the tie leads to; NO_SOURCE if there is none yet
    int64_t started  # when the replica started, on any clock; 0 if nobody knows

cdef struct Recent:  # what is kept of a sample
    int64_t at
    int32_t failure
    int32_t source

cdef struct Choice:  # what is kept of a sample whose source is known
    uint8_t source
    uint8_t tie
    uint8_t is_free  # nothing led it there
    uint8_t owner

cdef struct Source:
    bint is_active  # it is there
    bint was_there
    bint was_alone  # nobody else was there when it came
    int64_t first, last  # the numbers of its first and its latest choice, since it is there
    int64_t answers  # of the balancer's choice, since it is there
    int64_t returns  # of those: after another source
    int64_t last_at  # ms
    int64_t started
    int64_t went_at  # ms; -1: it did not

cdef struct Draws:  # choices of a segment, in order
    int64_t total
    int64_t repeats  # of the same source as the one before
    int64_t counts[SOURCES_MAX]
    uint8_t latest[LATEST_MAX]
    int32_t matches[PERIOD_MAX + 1]  # for each period: choices in a row that repeat the one a period before
    int32_t earlier_matches[PERIOD_MAX + 1]  # those of earlier rows, of each as many as are no rotation
    int period  # of the rotation; 0: none
    int64_t broken_at  # the total when the rotation was broken; -1: it goes on

cdef struct Evidence:
    Source sources[SOURCES_MAX]
    int active  # sources that are there
    int64_t choices  # of the balancer, all of them; the number of the latest one
    Recent recent[RECENT_MAX]
    int64_t samples  # all of them
    int latest  # the source of the latest choice

    # failures
    int64_t failing_since  # ms; -1: nothing has failed lately
    int64_t first_failure  # the number of the sample that failed then
    int64_t last_failure  # the number of the latest sample that failed
    int64_t last_failure_at  # ms
    int64_t failures  # since failing_since
    int64_t failures_in_a_row
    int64_t last_answer_at  # ms; -1: there was none

    # the latest change
    int change, change_source
    int64_t changed_at  # ms
    int64_t changes  # sources with a change of this kind, each within CHANGE_SHOWN of the one before
    bint has_changed[SOURCES_MAX]  # it is one of these
    int64_t last_newcomer  # the number of its first choice
    bint has_settled  # newcomers are a change

    # the current segment
    int64_t since_failure  # choices since the latest failure
    Choice history[HISTORY_MAX]
    Draws all
    Draws free  # of choices that nothing led
    int tie  # the latest that led one
    int64_t hits[SOURCES_MAX]  # led choices that came to their owner, by owner
    int64_t led, misses  # led choices; those that came to another source
    double shift_evidence  # at the latest test


# ---- draws --------------------------------------------------------------------------------------------------------

cdef inline void draws_begin(Draws *d) noexcept nogil:
    memset(d, 0, sizeof(d[0]))
    d.broken_at = -1


cdef inline double chance_to_repeat(const Draws *d) noexcept nogil:
    """That two independent choices are of the same source, by the shares that were seen."""
    cdef double sum = 0
    cdef double total = <double>d.total
    cdef int i
    for i in range(SOURCES_MAX):
        if d.counts[i]:
            sum += (<double>d.counts[i] / total) ** 2
    return sum


cdef inline bint comes_in_runs(const Draws *d) noexcept nogil:
    """Whether choices repeat the one before more often than independent ones would."""
    cdef double chance = chance_to_repeat(d)
    cdef double excess = <double>d.repeats - <double>(d.total - 1) * chance
    return excess > 0 and excess * excess > (
        RUNS_DEVIATIONS * RUNS_DEVIATIONS * <double>(d.total - 1) * chance * (1 - chance)
    )


cdef inline double independent_part(const Draws *d) noexcept nogil:
    """How many independent choices a choice is worth, where choices come in runs: at most 1."""
    cdef double pairs = <double>max(d.total - 1, 0)
    cdef double expected = pairs * (1 - chance_to_repeat(d)) if pairs else 0
    cdef double changes = pairs - <double>d.repeats
    return changes / expected if changes < expected else 1


cdef inline int rotation_period(const Draws *d, int fewest, int most) noexcept nogil:
    """The period of the rotation in which so many sources take turns, if that is no chance; or 0.

    Independent choices repeat those of a period before, m times in a row, with a probability of c^m, where c is the
    chance to repeat. It must be below 1 / (10000 n p) for n choices and a period of p, so that it is hardly ever wrong
    however long one looks. Where choices depend on each other, as those of the least busy source do, c is how often
    they repeated those of a period before, until the latest that did not.
    """
    cdef double chance = chance_to_repeat(d)
    cdef double earlier
    cdef int period
    if chance >= 1:
        return 0  # of a single source: any period fits
    for period in range(2, PERIOD_MAX + 1):
        if d.matches[period] < 2 * period or not fewest <= sources_in_period(d, period) <= most:
            continue
        earlier = (<double>d.earlier_matches[period] + chance) / <double>(d.total - period - d.matches[period] + 1)
        if -log(max(chance, earlier)) * d.matches[period] > log(10000.0 * <double>d.total * period):
            return period
    return 0


cdef inline int sources_in_period(const Draws *d, int period) noexcept nogil:
    cdef uint8_t seen[SOURCES_MAX]
    cdef int count = 0
    cdef int i
    cdef uint8_t source
    memset(seen, 0, sizeof(seen))
    for i in range(period):
        source = d.latest[(d.total - 1 - i) % LATEST_MAX]
        count += not seen[source]
        seen[source] = 1
    return count


cdef inline void draws_add(Draws *d, int source) noexcept nogil:
    cdef int period
    if d.total:
        d.repeats += d.latest[(d.total - 1) % LATEST_MAX] == source
    for period in range(1, PERIOD_MAX + 1):
        if period > d.total or d.latest[(d.total - period) % LATEST_MAX] != source:
            d.earlier_matches[period] += min(d.matches[period], 2 * period)
            d.matches[period] = 0
        else:
            d.matches[period] += 1
    d.latest[d.total % LATEST_MAX] = <uint8_t>source
    d.total += 1
    d.counts[source] += 1


cdef inline int64_t draws_follow_rotation(Draws *d, int active) noexcept nogil:
    """Find a rotation, or whether it goes on. How many choices remain, if those before them are of another order; or
    else 0."""
    cdef int64_t since
    if d.period == 0:
        d.period = rotation_period(d, active, active)
        return 0
    if d.broken_at < 0:
        if d.matches[d.period] == 0:
            d.broken_at = d.total - 1
        return 0
    if d.matches[d.period] >= d.period and sources_in_period(d, d.period) == active:
        d.broken_at = -1  # something else came between
        return 0
    since = d.total - d.broken_at
    if since > 4 * d.period + MIN_TEST_INTERVAL or (since > 2 * d.period and rotation_period(d, active, active)):
        return since
    return 0


# ---- segments -----------------------------------------------------------------------------------------------------

cdef inline void segment_forget_led(Evidence *e) noexcept nogil:
    memset(e.hits, 0, sizeof(e.hits))
    e.led = e.misses = 0
    e.tie = TIE_NONE


cdef inline void segment_clear(Evidence *e) noexcept nogil:
    e.since_failure = 0
    draws_begin(&e.all)
    draws_begin(&e.free)
    segment_forget_led(e)
    e.shift_evidence = 0


cdef inline void segment_begin(Evidence *e, int change, int source, int64_t now) noexcept nogil:
    segment_clear(e)
    if change == CHANGE_CAME and not e.has_settled:
        return  # at first, everybody comes
    if change != e.change or now - e.changed_at >= CHANGE_SHOWN:
        memset(e.has_changed, 0, sizeof(e.has_changed))
        e.changes = 0
    if source != NO_SOURCE and not e.has_changed[source]:  # it may restart again and again
        e.has_changed[source] = True
        e.changes += 1
    e.change = change
    e.change_source = source
    e.changed_at = now


cdef inline void segment_count(Evidence *e, Choice choice) noexcept nogil:
    e.history[e.all.total % HISTORY_MAX] = choice
    e.since_failure += 1
    draws_add(&e.all, choice.source)
    if choice.is_free:
        draws_add(&e.free, choice.source)
        return
    if choice.tie != e.tie:
        segment_forget_led(e)
        e.tie = choice.tie
    e.led += 1
    if choice.source == choice.owner:
        e.hits[choice.owner] += 1
    else:
        e.misses += 1


cdef inline void segment_keep_end(Evidence *e, int change, int64_t kept, int64_t now) noexcept nogil:
    """Begin anew with the latest choices."""
    cdef Choice choices[HISTORY_MAX]
    cdef int64_t number = min(kept, HISTORY_MAX)
    cdef int64_t i
    for i in range(number):
        choices[i] = e.history[(e.all.total - number + i) % HISTORY_MAX]
    segment_begin(e, change, NO_SOURCE, now)
    for i in range(number):
        segment_count(e, choices[i])
    e.all.period = rotation_period(&e.all, e.active, e.active)
    e.free.period = rotation_period(&e.free, e.active, e.active)


cdef inline const Draws *segment_draws(const Evidence *e) noexcept nogil:
    """The choices that show shares: all, unless those that were led came to their owners."""
    return &e.free if e.led and not e.misses else &e.all


cdef inline void sources_change_shares(Evidence *e, int64_t within) noexcept nogil:
    """Shares have changed within the latest choices: those before do not show how often a source answers now, if it
    does."""
    cdef int64_t counts[SOURCES_MAX]
    cdef int64_t total = 0
    cdef int64_t back
    cdef int i
    cdef Choice choice
    memset(counts, 0, sizeof(counts))
    for back in range(1, within + 1):
        choice = e.history[(e.all.total - back) % HISTORY_MAX]
        if choice.is_free or choice.owner != choice.source:
            counts[choice.source] += 1
            total += 1
    for i in range(SOURCES_MAX):
        if e.sources[i].is_active and 4 * (e.choices - e.sources[i].last) < total:
            e.sources[i].first = e.choices - total + 1
            e.sources[i].answers = e.sources[i].returns = counts[i]


cdef inline void segment_test(Evidence *e, int64_t now) noexcept nogil:
    """Compare the latest choices, of several numbers of them, with those before."""
    cdef const Draws *d = segment_draws(e)
    cdef int64_t before[SOURCES_MAX]
    cdef int64_t after[SOURCES_MAX]
    cdef int64_t both[SOURCES_MAX]
    cdef int64_t tail[SOURCES_MAX]
    cdef uint8_t cells[SOURCES_MAX]  # the sources that are there
    cdef int64_t reached = 0
    cdef int64_t changed_within = 0
    cdef int64_t length = MIN_TEST_INTERVAL
    cdef double evidence
    cdef int count = 0
    cdef int i
    cdef Choice choice
    e.shift_evidence = 0
    if comes_in_runs(d):
        return
    for i in range(SOURCES_MAX):
        tail[i] = 0
        if e.sources[i].is_active:
            cells[count] = <uint8_t>i
            count += 1
    while length <= HISTORY_MAX and length < e.all.total:
        while reached < length:
            reached += 1
            choice = e.history[(e.all.total - reached) % HISTORY_MAX]
            if d == &e.all or choice.is_free:
                tail[choice.source] += 1
        for i in range(count):
            after[i] = tail[cells[i]]
            before[i] = d.counts[cells[i]] - after[i]
        evidence = log_evidence_of_change(before, after, both, count)
        # fewer choices may be part of a turn, in which each source comes twice where two proxies take turns
        if length >= 3 * count and evidence > e.shift_evidence:
            e.shift_evidence = evidence
            changed_within = length
        length *= 2
    if e.shift_evidence > CHANGE_EVIDENCE:
        sources_change_shares(e, changed_within)
        segment_keep_end(e, CHANGE_SHARES, changed_within, now)


cdef inline void segment_check(Evidence *e, bint is_free, int64_t now) noexcept nogil:
    """After a choice: do the others, or their order, still hold?"""
    cdef int64_t of_all = draws_follow_rotation(&e.all, e.active)
    cdef int64_t of_free = draws_follow_rotation(&e.free, e.active) if is_free else 0
    cdef int64_t kept = of_all
    if segment_draws(e) == &e.free:
        kept = 0
        while of_free and kept < min(e.all.total, HISTORY_MAX):
            kept += 1
            of_free -= e.history[(e.all.total - kept) % HISTORY_MAX].is_free
    if kept:
        segment_keep_end(e, CHANGE_SHARES, kept, now)
    elif e.all.total % MIN_TEST_INTERVAL == 0:
        segment_test(e, now)


# ---- sources ------------------------------------------------------------------------------------------------------

cdef inline double log_chance_of_silence(const Evidence *e, int source) noexcept nogil:
    """How likely a source that is there would be silent for so long, if its answers were as likely at any time.

    The first answer tells since when it is there, and not how often it answers. A run of answers that depend on each
    other is one: independent ones of a share p return after another source in 1 - p of all cases. A single run shows
    nothing, unless there was nobody else.
    """
    cdef const Source *s = &e.sources[source]
    cdef int64_t silent = e.choices - s.last
    cdef double choices = <double>(e.choices - s.first + 1)
    cdef double independent = <double>max(s.answers - 1, 0)
    cdef double others = 1 - <double>s.answers / choices
    if (s.returns or not s.was_alone) and <double>s.returns < independent * others:
        independent = <double>s.returns / others
    if silent >= RECENT_MAX:
        return GONE_CHANCE - 1  # however rarely it answered
    return independent * log1p(-<double>silent / choices)


cdef inline bint may_be_gone(const Evidence *e, int source) noexcept nogil:
    """Whether a source that is there is silent for longer than chance explains, or has missed two turns."""
    cdef int period = segment_draws(e).period
    if not e.sources[source].is_active:
        return False
    if period and e.choices - e.sources[source].last >= 2 * period + 2:
        return True
    return log_chance_of_silence(e, source) < SILENT_CHANCE


cdef inline bint is_settled(const Evidence *e) noexcept nogil:
    """Whether a source that was there all the time would have answered by now: all others take turns, or it would have
    an equal share, or the smallest that counts."""
    cdef double share = min(1.0 / (e.active + 1), UNNOTICED_SHARE)
    cdef double independent = <double>(e.choices - e.last_newcomer) * independent_part(&e.all)
    return e.all.period > 0 or independent * log1p(-share) < SILENT_CHANCE


cdef inline void source_appears(Evidence *e, int source, int64_t now) noexcept nogil:
    cdef Source *s = &e.sources[source]
    e.has_settled = e.has_settled or is_settled(e)
    e.last_newcomer = e.choices
    segment_begin(e, CHANGE_RETURNED if s.was_there else CHANGE_CAME, source, now)
    e.active += not s.is_active
    s.is_active = s.was_there = True
    s.was_alone = e.active == 1
    s.first = e.choices
    s.answers = s.returns = 0
    s.went_at = -1


cdef inline void source_goes(Evidence *e, int source, int64_t now) noexcept nogil:
    e.sources[source].is_active = False
    e.sources[source].went_at = now
    e.active -= 1
    segment_begin(e, CHANGE_WENT, source, now)


cdef inline void sources_miss_turns(Evidence *e, int64_t now) noexcept nogil:
    """Those go without which a broken rotation goes on."""
    cdef const Draws *d = segment_draws(e)
    cdef uint8_t goes_on[SOURCES_MAX]
    cdef int period = 0
    cdef int i
    if d.period and d.broken_at >= 0:
        period = rotation_period(d, 1, e.active - 1)
    if period == 0:
        return
    memset(goes_on, 0, sizeof(goes_on))
    for i in range(period):
        goes_on[d.latest[(d.total - 1 - i) % LATEST_MAX]] = 1
    for i in range(SOURCES_MAX):
        if e.sources[i].is_active and not goes_on[i]:
            source_goes(e, i, now)


cdef inline void choice_add(Evidence *e, const Sample *sample) noexcept nogil:
    cdef Source *s = &e.sources[sample.source]
    cdef Choice choice
    cdef bint is_restarted = s.is_active and sample.started and s.started and sample.started != s.started
    cdef bint is_free = sample.tie == TIE_NONE or sample.owner == NO_SOURCE
    # what came to its owner was no choice, and says nothing of those that are silent meanwhile
    cdef bint is_chosen = is_free or sample.owner != sample.source or e.misses > 0
    cdef int i
    e.choices += is_chosen
    if not s.is_active:
        source_appears(e, sample.source, sample.at)
    elif is_restarted:
        segment_begin(e, CHANGE_RESTARTED, sample.source, sample.at)
        s.first = e.choices
        s.answers = s.returns = 0
        s.was_alone = e.active == 1
    else:
        choice.source = <uint8_t>sample.source
        choice.tie = <uint8_t>sample.tie
        choice.is_free = is_free
        choice.owner = 0 if is_free else <uint8_t>sample.owner
        segment_count(e, choice)
        segment_check(e, is_free, sample.at)
    if is_chosen:
        s.answers += 1
        s.returns += s.answers > 1 and e.latest != sample.source
        e.latest = sample.source
    s.last = e.choices
    s.last_at = sample.at
    if sample.started:
        s.started = sample.started
    sources_miss_turns(e, sample.at)
    for i in range(SOURCES_MAX):
        if e.sources[i].is_active and log_chance_of_silence(e, i) < GONE_CHANCE:
            source_goes(e, i, sample.at)


# ---- samples ------------------------------------------------------------------------------------------------------

cdef inline void evidence_open(Evidence *e) noexcept nogil:
    cdef int i
    memset(e, 0, sizeof(e[0]))
    segment_clear(e)
    for i in range(SOURCES_MAX):
        e.sources[i].went_at = -1
    e.failing_since = e.last_answer_at = -1
    e.latest = NO_SOURCE
    e.last_failure = -FAILURE_SAMPLES


cdef inline bint still_fails(const Evidence *e, int64_t now) noexcept nogil:
    """Whether a request has failed lately."""
    cdef bint is_long_ago = now - e.last_failure_at > FAILURE_WINDOW and e.samples - e.last_failure >= FAILURE_SAMPLES
    return e.failing_since >= 0 and not is_long_ago and now - e.last_failure_at <= FAILURE_WINDOW_MAX


cdef inline void evidence_add(Evidence *e, const Sample *sample) noexcept nogil:
    """Take a sample into account."""
    cdef Recent *kept = &e.recent[e.samples % RECENT_MAX]
    if e.failing_since >= 0 and not still_fails(e, sample.at):
        e.failing_since = -1
        if e.failures >= FAILURES_THAT_DISTURB:
            segment_keep_end(e, CHANGE_RECOVERED, e.since_failure, sample.at)
        e.failures = 0
    kept.at = sample.at
    kept.failure = sample.failure
    kept.source = sample.source
    e.samples += 1
    if sample.failure >= 0:
        if e.failing_since < 0:
            e.failing_since = sample.at
            e.first_failure = e.samples
        e.failures += 1
        e.since_failure = 0
        e.failures_in_a_row += 1
        e.last_failure = e.samples
        e.last_failure_at = sample.at
    else:
        e.failures_in_a_row = 0
        e.last_answer_at = sample.at
    if sample.source != NO_SOURCE:
        choice_add(e, sample)


cdef inline void evidence_forget(Evidence *e, int source) noexcept nogil:
    """Have the number of a source that is not there stand for another one."""
    cdef int i
    memset(&e.sources[source], 0, sizeof(Source))
    e.sources[source].went_at = -1
    for i in range(RECENT_MAX):
        if e.recent[i].source == source:
            e.recent[i].source = NO_SOURCE
    if e.change_source == source:
        e.change = CHANGE_NONE
