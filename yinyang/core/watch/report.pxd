"""The state of a watch as a line of text, and at its end as JSON; samples as lines of JSON.

The object of --json has these keys. Times are in seconds, shares from 0 to 1, and unknown values are null:

    url           the URL that was asked, without user and password
    connection    "new" or "same"
    seconds       how long the watch took
    ended         why it ended: "duration", "count", "until" or "signal"
    samples       number of requests that were answered or failed
    answers       number of requests that were answered
    errors        number of requests that failed
    rate          requests per second that were sent, while some were
    asked_rate    what --rate asked for
    replicas      in the order in which they came, for each; one may be known by its failures alone:
        host, short, version, zone, node, colours, start_ms     as /whoami tells them
        answers                         number of its answers
        share                           its share of the answers to requests without a cookie
        silent_for                      time since its last answer; null if it never answered
        silent                          whether nothing came of it for too long, if it were still there
    by            what replicas of a group have in common: "replica", "version", "zone" or "node"
    groups        in the order in which they came, for each:
        name                            the version, zone or node; of a replica for itself, its host, and a number
                                        behind it if another one has the same
        replicas                        hosts of its replicas, except those that are in another group by now
        answers, share, silent_for, silent      as those of a replica
        failures                        number of failures that named one of its replicas in X-Served-By
    failures      number of failures of each kind: "refused", "timed out", "reset", "closed", "status 502",
                  "not whoami", ...
    gap           time without an answer, around failures or while requests wait: "latest" and "longest"; null if
                  there was none
    latency       "p50" and "p99" of the answers, right to 1 %
    verdict
        kind      one of those in docs/verdict.md, such as "failing", "turns", "even" or "weighted"
        words     the verdict for people
        detail    what it rests on
        samples   number of samples that a verdict about shares rests on
        more      about how many more it takes to be sure
        shares    by name of a group: [smallest, seen, largest], the bounds of the share at 99 % for all together
    expectations  for each: "expected" and "seen", in words, and whether it "holds"

The first line of --jsonl describes the run, with the keys `at`, `url`, `connection`, `asked_rate`, `concurrency`,
`timeout` and `by`. Each other line is a sample. Unknown values are null, times like `2026-11-26T08:00:00.123Z`:

    at            when the request ended
    ms            how long it took
    connection    the number of its connection
    cookie_of     the host of the replica whose cookies it carried; only if it carried any
    host, short, version, zone, node, colours, start_ms    of the replica that answered, as /whoami tells them
    failure       the kind of failure, such as "refused", instead of these
    served_by     the host of the replica that a failed answer named in X-Served-By; only if it did

No text here has a line feed at its end.
"""

from libc.stdint cimport int64_t

from ..identity.identity cimport COLOUR_LENGTH
from ..text.buffer cimport Text, llu, text_format, text_measure, text_open, text_put, text_string
from ..text.calendar cimport stamp_render
from ..text.decimal cimport text_decimal, text_json_number, text_significant
from ..verdict.evidence cimport SOURCES_MAX
from ..verdict.verdict cimport Verdict
from ..verdict.words cimport Name, Naming, text_count, text_detail, text_headline, verdict_kind
from .expectations cimport expectation_count, expectation_holds, write_expected, write_seen
from .groups cimport by_word
from .options cimport NOT_GIVEN, WatchOptions
from .sample cimport Described, Label, US_PER_MS, US_PER_SECOND, WatchSample
from .tally cimport (
    Counts, NOBODY, Tally, VERDICT_WORDS_MAX, gap_latest, gap_longest, group_display_name, group_is_silent,
    latency_quantile, rate_average, rate_current, rate_is_slow, replica_is_silent, tally_naming, tally_share,
    tally_verdict
)
from .writer cimport (
    FORM_JSON, Writer, text_failure_kind, text_failures, text_label, text_quoted_label, write_bytes
)

cdef enum:
    NAMED_MAX = 8  # groups that a line names


# ---- values of JSON -----------------------------------------------------------------------------------------------

cdef inline void text_json_seconds(Text *text, double us) noexcept nogil:
    """A time in seconds; null if it is negative, as NOT_GIVEN is."""
    if us < 0:
        text_string(text, "null")
    else:
        text_json_number(text, us / US_PER_SECOND)


cdef inline void text_json_label(Text *text, const Label *label) noexcept nogil:
    """Null if it is empty."""
    if label.length:
        text_quoted_label(text, label)
    else:
        text_string(text, "null")


cdef inline void text_json_bint(Text *text, bint value) noexcept nogil:
    text_string(text, "true" if value else "false")


cdef inline void text_json_described(Text *text, const Described *replica) noexcept nogil:
    """Seven members of an object."""
    cdef int i
    text_string(text, '"host": ')
    text_json_label(text, &replica.host)
    text_string(text, ', "short": ')
    text_json_label(text, &replica.short_name)
    text_string(text, ', "version": ')
    text_json_label(text, &replica.version)
    text_string(text, ', "zone": ')
    text_json_label(text, &replica.zone)
    text_string(text, ', "node": ')
    text_json_label(text, &replica.node)
    text_string(text, ', "colours": ["')
    for i in range(2):
        text_string(text, '", "' if i else "")
        text_put(text, replica.colours[i], COLOUR_LENGTH)
    text_string(text, '"], "start_ms": ')
    if replica.start_ms < 0:
        text_string(text, "null")
    else:
        text_format(text, "%llu", <llu>replica.start_ms)


# ---- at the end ---------------------------------------------------------------------------------------------------

cdef inline void text_report(Text *text, const Tally *t, int64_t now, const char *ended) noexcept nogil:
    """The object of --json; `now` in us, `ended` is why."""
    text_format(text, '{"url": %-s, "connection": "%s", "seconds": ', t.options.display_url, connection_word(t.options))
    text_json_seconds(text, <double>(now - t.begin))
    text_format(text, ', "ended": %-s, "samples": %llu, "answers": %llu, "errors": %llu, "rate": ', ended,
                <llu>t.samples, <llu>t.answers, <llu>(t.samples - t.answers))
    text_json_number(text, rate_average(t, now))
    text_string(text, ', "asked_rate": ')
    text_json_number(text, t.options.rate)
    text_string(text, ', "replicas": ')
    report_replicas(text, t, now)
    text_format(text, ', "by": "%s", "groups": ', by_word(t.options.by))
    report_groups(text, t, now)
    text_string(text, ', "failures": ')
    report_failures(text, t)
    report_times(text, t, now)
    text_string(text, ', "verdict": ')
    report_verdict(text, t, now)
    text_string(text, ', "expectations": ')
    report_expectations(text, t, now)
    text_string(text, "}")


cdef inline const char *connection_word(const WatchOptions *options) noexcept nogil:
    return "same" if options.keep_alive else "new"


cdef inline void report_replicas(Text *text, const Tally *t, int64_t now) noexcept nogil:
    cdef int i
    text_string(text, "[")
    for i in range(t.replica_count):
        text_string(text, ", {" if i else "{")
        text_json_described(text, &t.replicas[i].described)
        report_counts(text, t, &t.replicas[i].counts, now)
        text_json_bint(text, replica_is_silent(t, &t.replicas[i]))
        text_string(text, "}")
    text_string(text, "]")


cdef inline void report_groups(Text *text, const Tally *t, int64_t now) noexcept nogil:
    cdef int group
    text_string(text, "[")
    for group in range(t.group_count):
        text_string(text, ', {"name": ' if group else '{"name": ')
        text_quoted_label(text, &t.groups[group].name)
        text_string(text, ', "replicas": ')
        report_hosts(text, t, group)
        report_counts(text, t, &t.groups[group].counts, now)
        text_json_bint(text, group_is_silent(t, group))
        text_format(text, ', "failures": %llu}', <llu>t.groups[group].failures)
    text_string(text, "]")


cdef inline void report_hosts(Text *text, const Tally *t, int group) noexcept nogil:
    cdef bint is_first = True
    cdef int i
    text_string(text, "[")
    for i in range(t.replica_count):
        if t.replicas[i].group == group:
            text_string(text, "" if is_first else ", ")
            text_quoted_label(text, &t.replicas[i].described.host)
            is_first = False
    text_string(text, "]")


cdef inline void report_counts(Text *text, const Tally *t, const Counts *counts, int64_t now) noexcept nogil:
    """What replicas and groups have both, up to the key of whether they are silent."""
    text_format(text, ', "answers": %llu, "share": ', <llu>counts.answers)
    text_json_number(text, tally_share(t, counts))
    text_string(text, ', "silent_for": ')
    text_json_seconds(text, <double>max(0, now - counts.last) if counts.answers else NOT_GIVEN)
    text_string(text, ', "silent": ')


cdef inline void report_failures(Text *text, const Tally *t) noexcept nogil:
    cdef int i
    text_string(text, "{")
    for i in range(t.failure_count):
        text_string(text, ', "' if i else '"')
        text_failure_kind(text, t.failures[i].kind)
        text_format(text, '": %llu', <llu>t.failures[i].count)
    text_string(text, "}")


cdef inline void report_times(Text *text, const Tally *t, int64_t now) noexcept nogil:
    text_string(text, ', "gap": {"latest": ')
    text_json_seconds(text, <double>gap_latest(t, now))
    text_string(text, ', "longest": ')
    text_json_seconds(text, <double>gap_longest(t, now))
    text_string(text, '}, "latency": {"p50": ')
    text_json_seconds(text, latency_quantile(t, 0.5))
    text_string(text, ', "p99": ')
    text_json_seconds(text, latency_quantile(t, 0.99))
    text_string(text, "}")


cdef inline void report_verdict(Text *text, const Tally *t, int64_t now) noexcept nogil:
    cdef Name names[SOURCES_MAX]
    cdef Naming naming
    cdef Verdict verdict
    tally_verdict(t, &verdict, now)
    tally_naming(t, &naming, names)
    text_format(text, '{"kind": "%s", "words": ', verdict_kind(&verdict))
    text_json_words(text, &verdict, &naming, True)
    text_string(text, ', "detail": ')
    text_json_words(text, &verdict, &naming, False)
    text_format(text, ', "samples": %llu, "more": %llu, "shares": ', <llu>verdict.samples, <llu>verdict.more)
    report_shares(text, t, &verdict)
    text_string(text, "}")


cdef inline void text_json_words(Text *text, const Verdict *verdict, const Naming *naming,
                                 bint is_headline) noexcept nogil:
    cdef char bytes[VERDICT_WORDS_MAX]
    cdef Text words
    cdef Writer w
    w.text = text
    w.form = FORM_JSON
    text_open(&words, bytes, VERDICT_WORDS_MAX)
    if is_headline:
        text_headline(&words, verdict, naming)
    else:
        text_detail(&words, verdict, naming)
    text_string(text, '"')
    write_bytes(&w, bytes, min(words.length, words.room))
    text_string(text, '"')


cdef inline void report_shares(Text *text, const Tally *t, const Verdict *verdict) noexcept nogil:
    cdef bint is_first = True
    cdef int i
    text_string(text, "{")
    for i in range(SOURCES_MAX):
        if verdict.high[i] > 0 and t.group_of_source[i] != NOBODY:
            text_string(text, "" if is_first else ", ")
            text_quoted_label(text, &t.groups[t.group_of_source[i]].name)
            text_string(text, ": [")
            text_json_number(text, verdict.low[i])
            text_string(text, ", ")
            text_json_number(text, verdict.seen[i])
            text_string(text, ", ")
            text_json_number(text, verdict.high[i])
            text_string(text, "]")
            is_first = False
    text_string(text, "}")


cdef inline void report_expectations(Text *text, const Tally *t, int64_t now) noexcept nogil:
    cdef Writer w
    cdef int number
    w.text = text
    w.form = FORM_JSON
    text_string(text, "[")
    for number in range(expectation_count(t)):
        text_string(text, ', {"expected": "' if number else '{"expected": "')
        write_expected(&w, t, number)
        text_string(text, '", "seen": "')
        write_seen(&w, t, number, now)
        text_string(text, '", "holds": ')
        text_json_bint(text, expectation_holds(t, number, now))
        text_string(text, "}")
    text_string(text, "]")


# ---- a line of text -----------------------------------------------------------------------------------------------

cdef inline void text_summary_line(Text *text, const Tally *t, int64_t now) noexcept nogil:
    """The state; `now` in us."""
    cdef Name names[SOURCES_MAX]
    cdef Naming naming
    cdef Verdict verdict
    text_decimal(text, <double>(now - t.begin) / US_PER_SECOND, 0)
    text_string(text, " s: ")
    text_count(text, t.samples, "sample, ", "samples, ")
    text_decimal(text, rate_current(t, now), 1)
    text_string(text, "/s; ")
    text_shares(text, t)
    text_string(text, "; ")
    text_failures(text, t, "no failure")
    text_figures(text, t, now, "; ")
    tally_verdict(t, &verdict, now)
    tally_naming(t, &naming, names)
    text_string(text, "; ")
    text_headline(text, &verdict, &naming)
    if has_detail(&verdict, &naming):
        text_string(text, "; ")
        text_detail(text, &verdict, &naming)


cdef inline bint has_detail(const Verdict *verdict, const Naming *naming) noexcept nogil:
    cdef Text measured
    text_measure(&measured)
    text_detail(&measured, verdict, naming)
    return measured.length > 0


cdef inline void text_shares(Text *text, const Tally *t) noexcept nogil:
    cdef int group
    for group in range(min(t.group_count, NAMED_MAX)):
        text_string(text, ", " if group else "")
        text_label(text, group_display_name(t, group))
        text_string(text, " ")
        text_decimal(text, 100 * tally_share(t, &t.groups[group].counts), 0)
        text_string(text, " % (silent)" if group_is_silent(t, group) else " %")
    if t.group_count > NAMED_MAX:
        text_format(text, ", %llu more", <llu>(t.group_count - NAMED_MAX))
    if t.group_count == 0:
        text_string(text, "no replica")


cdef inline void text_figures(Text *text, const Tally *t, int64_t now, const char *before) noexcept nogil:
    """Gaps, latencies and the rate, as far as there is something to say, with semicolons between; `before` comes before
    the first, if there is one."""
    if gap_latest(t, now) >= 0:
        text_string(text, before)
        text_gap(text, t, now)
        before = "; "
    if latency_quantile(t, 0.5) >= 0:
        text_string(text, before)
        text_latency(text, t)
        before = "; "
    if rate_is_slow(t, now):
        text_string(text, before)
        text_slow_rate(text, t, now)


cdef inline void text_gap(Text *text, const Tally *t, int64_t now) noexcept nogil:
    """How long there was no answer; there was a gap."""
    text_string(text, "gap ")
    text_decimal(text, <double>gap_latest(t, now) / US_PER_SECOND, 2)
    text_string(text, " s, longest ")
    text_decimal(text, <double>gap_longest(t, now) / US_PER_SECOND, 2)
    text_string(text, " s")


cdef inline void text_latency(Text *text, const Tally *t) noexcept nogil:
    """How long answers took, of which there are some."""
    text_string(text, "p50 ")
    text_significant(text, latency_quantile(t, 0.5) / US_PER_MS, 3)
    text_string(text, " ms, p99 ")
    text_significant(text, latency_quantile(t, 0.99) / US_PER_MS, 3)
    text_string(text, " ms")


cdef inline void text_slow_rate(Text *text, const Tally *t, int64_t now) noexcept nogil:
    """Which rate was reached, where that is much less than was asked for."""
    text_string(text, "asked for ")
    text_significant(text, t.options.rate, 10)
    text_string(text, "/s, reached ")
    text_significant(text, rate_average(t, now), 3)
    text_string(text, "/s")


# ---- a line of JSON for each sample -------------------------------------------------------------------------------

cdef inline void text_run_line(Text *text, const WatchOptions *options, int64_t wall_ms) noexcept nogil:
    """The first line; `wall_ms` is the time, since 1970."""
    text_at(text, wall_ms)
    text_format(text, ', "url": %-s, "connection": "%s", "asked_rate": ', options.display_url, connection_word(options))
    text_json_number(text, options.rate)
    text_format(text, ', "concurrency": %llu, "timeout": ', <llu>options.concurrency)
    text_json_seconds(text, <double>options.timeout)
    text_format(text, ', "by": "%s"}', by_word(options.by))


cdef inline void text_sample_line(Text *text, const WatchSample *sample, int64_t wall_ms) noexcept nogil:
    """The line of a sample that has just ended; `wall_ms` is the time, since 1970."""
    text_at(text, wall_ms)
    text_string(text, ', "ms": ')
    text_json_number(text, <double>max(0, sample.end - sample.start) / US_PER_MS)
    text_format(text, ', "connection": %llu, ', <llu>sample.connection)
    if sample.cookie_of.length:
        text_string(text, '"cookie_of": ')
        text_quoted_label(text, &sample.cookie_of)
        text_string(text, ", ")
    if sample.is_answer:
        text_json_described(text, &sample.replica)
    else:
        text_string(text, '"failure": "')
        text_failure_kind(text, sample.failure)
        text_string(text, '"')
    if not sample.is_answer and sample.replica.host.length:
        text_string(text, ', "served_by": ')
        text_quoted_label(text, &sample.replica.host)
    text_string(text, "}")


cdef inline void text_at(Text *text, int64_t wall_ms) noexcept nogil:
    """The begin of an object, with a time in UTC (RFC 3339)."""
    cdef int64_t ms = wall_ms % 1000
    stamp_render(text, '{"at": "%llu-%02llu-%02lluT%02llu:%02llu:%02llu.', wall_ms // 1000)
    text_format(text, '%llu%02lluZ"', <llu>ms // 100, <llu>ms % 100)
