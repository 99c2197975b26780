"""What is counted, in the text format of Prometheus (version 0.0.4)."""

from libc.stdint cimport int64_t

from ..text.buffer cimport Text, llu, text_format, text_string
from ..text.decimal cimport text_decimal, text_significant
from .sample cimport US_PER_SECOND
from .tally cimport Tally, gap_longest, latency_count_up_to
from .writer cimport text_failure_kind, text_quoted_label

cdef extern from "watch_exporter.h" nogil:
    const double latency_bounds[]  # seconds
    enum:
        LATENCY_BOUNDS


cdef inline void text_watch_metrics(Text *text, const Tally *t, int64_t now) noexcept nogil:
    """The counters; `now` in us."""
    metrics_answers(text, t)
    metrics_failures(text, t)
    metrics_latencies(text, t)
    metrics_head(text, "yinyang_watch_longest_gap_seconds", "gauge",
                 "the longest time without an answer, around failures or while requests wait")
    text_string(text, "yinyang_watch_longest_gap_seconds ")
    text_decimal(text, <double>max(0, gap_longest(t, now)) / US_PER_SECOND, 6)
    text_string(text, "\n")


cdef inline void metrics_head(Text *text, const char *name, const char *kind, const char *help) noexcept nogil:
    text_format(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)


cdef inline void metrics_answers(Text *text, const Tally *t) noexcept nogil:
    cdef int i
    metrics_head(text, "yinyang_watch_answers_total", "counter", "answers by replica and version")
    for i in range(t.series_count):
        text_string(text, "yinyang_watch_answers_total{replica=")
        text_quoted_label(text, &t.series[i].host)
        text_string(text, ",version=")
        text_quoted_label(text, &t.series[i].version)
        text_format(text, "} %llu\n", <llu>t.series[i].answers)


cdef inline void metrics_failures(Text *text, const Tally *t) noexcept nogil:
    cdef int i
    metrics_head(text, "yinyang_watch_failures_total", "counter", "failures by kind")
    for i in range(t.failure_count):
        text_string(text, 'yinyang_watch_failures_total{kind="')
        text_failure_kind(text, t.failures[i].kind)
        text_format(text, '"} %llu\n', <llu>t.failures[i].count)


cdef inline void metrics_latencies(Text *text, const Tally *t) noexcept nogil:
    cdef int i
    metrics_head(text, "yinyang_watch_latency_seconds", "histogram", "how long answers took, right to 1 %")
    for i in range(LATENCY_BOUNDS):
        text_string(text, 'yinyang_watch_latency_seconds_bucket{le="')
        text_significant(text, latency_bounds[i], 6)
        text_format(text, '"} %llu\n', <llu>latency_count_up_to(t, latency_bounds[i]))
    text_format(text, 'yinyang_watch_latency_seconds_bucket{le="+Inf"} %llu\n', <llu>t.answers)
    text_string(text, "yinyang_watch_latency_seconds_sum ")
    text_decimal(text, <double>t.latency_total / US_PER_SECOND, 6)
    text_format(text, "\nyinyang_watch_latency_seconds_count %llu\n", <llu>t.answers)
