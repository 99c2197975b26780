"""`/metrics`: what this replica has done, in the text format of Prometheus (version 0.0.4), summed over all workers."""

from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t
from libc.string cimport strlen

from ..http.parser cimport ERROR_COUNT, Parser, http_errors
from ..http.responses cimport (
    RESPONSE_EMPTY, RESPONSE_ERROR, RESPONSE_ERROR_HEAD, RESPONSE_REDIRECT, RESPONSE_UNREADY, VARIANT_COUNT,
    response_begin, response_end, response_ends_connection, response_is_dynamic
)
from ..identity.replica cimport ABOUT_VERSION, Replica
from ..os.atomic cimport atomic_get_u32, atomic_get_u64
from ..os.syscalls cimport monotonic_ms
from ..shared.scoreboard cimport Counts, PHASE_SERVING, Scoreboard, scoreboard_counts, scoreboard_ready_workers
from ..text.buffer cimport Text, llu, text_format, text_open, text_string

cdef extern from *:
    const char *YINYANG_VERSION

cdef enum:
    METRICS_MAX = 4096  # bytes of the body


cdef inline void metrics_render(Text *text, const Parser *f, bint keep_alive, int64_t second, const Replica *replica,
                                const Scoreboard *scoreboard) noexcept nogil:
    cdef const char *app_version = replica.about[ABOUT_VERSION]
    cdef Counts counts = scoreboard_counts(scoreboard)
    cdef char bytes[METRICS_MAX]
    cdef Text body
    if app_version == NULL:
        app_version = ""
    text_open(&body, bytes, METRICS_MAX)
    metrics_requests(&body, scoreboard, counts.pages)
    metrics_totals(&body, scoreboard, &counts)
    text_format(&body, "# HELP yinyang_build_info versions\n"
                "# TYPE yinyang_build_info gauge\nyinyang_build_info{version=%-s,app_version=%-s} 1\n",
                YINYANG_VERSION, app_version)
    response_begin(text, f, 200, second, "text/plain; version=0.0.4; charset=utf-8", &body)
    response_end(text, f, keep_alive, &body)


cdef inline void metrics_requests(Text *text, const Scoreboard *scoreboard, uint64_t pages) noexcept nogil:
    """Answers by status and route. What is wrong was asked of no route."""
    cdef const char *route = "empty\0livez\0wall\0redirect\0whoami\0readyz\0metrics\0readyz\0"  # by answer
    cdef int response = RESPONSE_EMPTY, count
    cdef int first = 1, error
    text_string(text, "# HELP http_requests_total answers, by status and route\n# TYPE http_requests_total counter\n")
    requests(text, 200, "page", pages)
    while response < RESPONSE_ERROR:
        count = 2 * VARIANT_COUNT
        if response_ends_connection(<uint8_t>response):
            count = 2
        elif response_is_dynamic(<uint8_t>response):
            count = 1
        requests(text, 503 if response == RESPONSE_UNREADY else 301 if response == RESPONSE_REDIRECT else 200, route,
                 answered(scoreboard, response, count))
        route += strlen(route) + 1
        response += count
    for error in range(1, ERROR_COUNT):
        # errors are in the order of their status
        if error + 1 == ERROR_COUNT or http_errors[error + 1].status != http_errors[error].status:
            requests(text, http_errors[error].status, "error",
                     answered(scoreboard, RESPONSE_ERROR + first, error + 1 - first)
                     + answered(scoreboard, RESPONSE_ERROR_HEAD + first, error + 1 - first))
            first = error + 1


cdef inline void metrics_totals(Text *text, const Scoreboard *scoreboard, const Counts *counts) noexcept nogil:
    text_format(
        text,
        "# HELP yinyang_connections_accepted_total connections accepted\n"
        "# TYPE yinyang_connections_accepted_total counter\nyinyang_connections_accepted_total %llu\n"
        "# HELP yinyang_connections_open connections open now\n"
        "# TYPE yinyang_connections_open gauge\nyinyang_connections_open %llu\n"
        "# HELP yinyang_pages_total pages served\n"
        "# TYPE yinyang_pages_total counter\nyinyang_pages_total %llu\n"
        "# HELP yinyang_draining 1 once told to stop\n"
        "# TYPE yinyang_draining gauge\nyinyang_draining %llu\n"
        "# HELP yinyang_workers processes\n"
        "# TYPE yinyang_workers gauge\nyinyang_workers %llu\n"
        "# HELP yinyang_workers_ready processes that serve\n"
        "# TYPE yinyang_workers_ready gauge\nyinyang_workers_ready %llu\n"
        "# HELP process_start_time_seconds start, since 1970\n"
        "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %llu\n",
        <llu>counts.accepted, <llu>counts.open, <llu>counts.pages,
        <llu>(atomic_get_u32(&scoreboard.phase) != PHASE_SERVING), <llu>scoreboard.workers,
        <llu>scoreboard_ready_workers(scoreboard, monotonic_ms()), <llu>scoreboard.started)


cdef inline uint64_t answered(const Scoreboard *scoreboard, int first, int count) noexcept nogil:
    """How often all workers gave one of some answers."""
    cdef uint64_t all_ = 0
    cdef uint32_t i
    cdef int response
    for i in range(scoreboard.workers):
        for response in range(first, first + count):
            all_ += atomic_get_u64(&scoreboard.slots[i].answered[response])
    return all_


cdef inline void requests(Text *text, int status, const char *route, uint64_t count) noexcept nogil:
    text_format(text, 'http_requests_total{code="%llu",route="%s"} %llu\n', <llu>status, route, <llu>count)
