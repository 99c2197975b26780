"""A fuzz target (libFuzzer) for the tally of the watch: whatever samples come, by whatever is grouped.

For any samples: totals add up; each replica is in a group, which knows how many it has; each source stands for one that
has its number; nothing is larger than it may be; and what is told of it has a limited length and no control bytes.
"""

from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memset

from yinyang.core.text.buffer cimport Text, llu, text_format, text_open
from yinyang.core.verdict.evidence cimport NO_SOURCE, SOURCES_MAX
from yinyang.core.verdict.verdict cimport Verdict
from yinyang.core.verdict.words cimport Name, Naming
from yinyang.core.watch.expectations cimport text_closing, text_junit
from yinyang.core.watch.exporter cimport text_watch_metrics
from yinyang.core.watch.options cimport NOT_GIVEN, WatchOptions
from yinyang.core.watch.report cimport text_report, text_summary_line
from yinyang.core.watch.sample cimport LABEL_MAX, Label, US_PER_SECOND, WatchSample
from yinyang.core.watch.tally cimport (
    GOAL_MIN_ANSWERS, NOBODY, REPLICAS_MAX, SERIES_MAX, Tally, gap_latest, gap_longest, goal_answers, goal_share,
    latency_count_up_to, latency_quantile, rate_average, rate_current, rate_is_slow, tally_add, tally_naming,
    tally_open, tally_share, tally_verdict
)

cdef enum:
    RECORD = 6  # bytes of a sample
    TEXT_MAX = 1 << 21  # bytes of what is told
    BY_MASK = 3  # bits of the first byte: what replicas are grouped by, ...
    HAS_GOAL = 4
    HAS_EXPECTATIONS = 8
    IS_FULL = 0xf0  # ... and if all of these are set, there are nearly as many replicas as have room


cdef void label_number(Label *label, const char *word, int number) noexcept nogil:
    cdef Text text
    text_open(&text, label.bytes, LABEL_MAX)
    text_format(&text, "%s%llu", word, <llu>number)
    label.length = <uint8_t>text.length


cdef void answer_of(WatchSample *sample, int host, int kind) noexcept nogil:
    """By a replica that describes itself in one of several ways."""
    sample.is_answer = True
    label_number(&sample.replica.host, "web-", host)
    label_number(&sample.replica.short_name, "", host & 0xff)
    if kind & 3:
        label_number(&sample.replica.version, "v", kind & 3)
    if kind & 4:
        label_number(&sample.replica.zone, "z", host & 3)
    if kind & 8:
        label_number(&sample.replica.node, "n", host)
    memset(sample.replica.colours, b"0", sizeof(sample.replica.colours))
    sample.replica.started = kind >> 6


cdef void check_groups(const Tally *t) noexcept nogil:
    cdef int replicas[REPLICAS_MAX]
    cdef int i
    memset(replicas, 0, sizeof(replicas))
    if t.replica_count > REPLICAS_MAX or t.group_count > REPLICAS_MAX or t.series_count > SERIES_MAX:
        abort()
    for i in range(t.replica_count):
        if not 0 <= t.replicas[i].group < t.group_count:
            abort()
        replicas[t.replicas[i].group] += 1
        if t.replicas[i].source != NO_SOURCE and t.replica_of_source[t.replicas[i].source] != i:
            abort()
    for i in range(t.group_count):
        if t.groups[i].replica_count != replicas[i] or not 0 <= tally_share(t, &t.groups[i].counts) <= 1:
            abort()
        if t.groups[i].source != NO_SOURCE and t.group_of_source[t.groups[i].source] != i:
            abort()
    for i in range(SOURCES_MAX):
        if t.replica_of_source[i] != NOBODY and t.replicas[t.replica_of_source[i]].source != i:
            abort()
        if t.group_of_source[i] != NOBODY and t.groups[t.group_of_source[i]].source != i:
            abort()


cdef void check_numbers(const Tally *t, int64_t now) noexcept nogil:
    cdef int64_t failures = 0
    cdef int i
    for i in range(t.failure_count):
        failures += t.failures[i].count
    if t.samples != t.answers + failures or latency_count_up_to(t, 1e9) != t.answers:
        abort()
    if t.answers and latency_quantile(t, 0.5) > latency_quantile(t, 1):
        abort()
    if gap_latest(t, now) > gap_longest(t, now) or rate_current(t, now) < 0 or rate_average(t, now) < 0:
        abort()
    rate_is_slow(t, now)
    if not 0 <= goal_share(t) <= 1 or goal_answers(t) > t.answers_without_cookie:
        abort()
    if t.goal_reached != NOT_GIVEN and (
        goal_answers(t) < GOAL_MIN_ANSWERS or goal_share(t) < t.options.goal.share
    ):
        abort()


cdef void check_text(const Text *text) noexcept nogil:
    cdef size_t i
    if text.length > TEXT_MAX:
        abort()
    for i in range(text.length):
        if (<uint8_t>text.data[i] < 32 and text.data[i] != b"\n") or text.data[i] == 127:
            abort()


cdef void check_told(const Tally *t, int64_t now, char *words) noexcept nogil:
    cdef Text text
    text_open(&text, words, TEXT_MAX)
    text_report(&text, t, now, "count")
    check_text(&text)
    text_open(&text, words, TEXT_MAX)
    text_watch_metrics(&text, t, now)
    check_text(&text)
    text_open(&text, words, TEXT_MAX)
    text_summary_line(&text, t, now)
    text_closing(&text, t, now, True, True)
    text_junit(&text, t, now, NULL)
    check_text(&text)


cdef void options_set(WatchOptions *options, int bits) noexcept nogil:
    memset(options, 0, sizeof(options[0]))
    options.rate = 10
    options.by = bits & BY_MASK
    options.count = options.duration = options.expect_replicas = options.max_errors = NOT_GIVEN
    options.max_gap = options.max_p99 = NOT_GIVEN
    options.min_share = NOT_GIVEN
    options.has_goal = bits & HAS_GOAL != 0
    label_number(&options.goal.name, "v" if options.by else "web-", 1)
    options.goal.share = 0.5
    if bits & HAS_EXPECTATIONS:
        options.expect_replicas = 2
        options.max_errors = options.max_gap = options.max_p99 = 1000
        options.min_share = 0.25
        options.expected_count = 1
        options.expected[0] = options.goal


cdef public int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) noexcept nogil:
    """After a byte with bits, six are a sample: the time since the one before, two for the replica, how it describes
    itself, the failure, and what led the request."""
    cdef Tally *t = <Tally *>malloc(sizeof(Tally))
    cdef char *words = <char *>malloc(TEXT_MAX)
    cdef WatchOptions options
    cdef WatchSample sample
    cdef Verdict verdict
    cdef Name names[SOURCES_MAX]
    cdef Naming naming
    cdef int64_t now = US_PER_SECOND
    cdef const uint8_t *record
    cdef size_t place
    cdef int i, host
    options_set(&options, data[0] if size else 0)
    tally_open(t, &options, now)
    if size and data[0] & IS_FULL == IS_FULL:
        for i in range(REPLICAS_MAX - 4):
            memset(&sample, 0, sizeof(sample))
            sample.start = sample.end = now + i
            answer_of(&sample, i, 8 + (i & 3))
            tally_add(t, &sample)
    for place in range((size - 1) // RECORD if size else 0):
        record = data + 1 + place * RECORD
        memset(&sample, 0, sizeof(sample))
        now += <int64_t>record[0] * (100000 if record[0] > 200 else 1000)
        sample.end = now - (record[5] & 1) * 5000
        sample.start = sample.end - record[0]
        host = record[1] | (record[2] & 7) << 8
        if record[4] < 128:
            answer_of(&sample, host, record[3])
        else:
            sample.failure = record[4] - 130 if record[4] < 145 else 345 + record[4]
            if record[3] & 1:
                answer_of(&sample, host, record[3] & ~1)
                sample.is_answer = False
                sample.replica.started = 0  # which no header tells
        sample.connection = record[5] >> 3
        if record[5] & 2:
            label_number(&sample.cookie_of, "web-", host ^ (record[5] >> 4))
        tally_add(t, &sample)
        t.waiting = record[3] & 3
        t.waiting_since = sample.start
        if place % 16 == 0 or record[0] > 200:
            check_groups(t)
            check_numbers(t, now)
            tally_verdict(t, &verdict, now)
            tally_naming(t, &naming, names)
    check_groups(t)
    check_numbers(t, now)
    check_told(t, now, words)
    free(words)
    free(t)
    return 0
