"""`/metrics`: what this replica has done, in the text format of Prometheus (version 0.0.4), summed over all workers."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport strlen

from .answers cimport (
    ANSWER_EMPTY, ANSWER_REDIRECT, ANSWER_UNREADY, ANSWER_WRONG, ANSWER_WRONG_HEAD, FORMS, answer_ends,
    answer_is_rendered, fresh_begin, fresh_end, wrong_statuses
)
from .board cimport Board, Counts, PHASE_SERVE, board_counts, board_ready
from .http1 cimport Framing, WRONG_COUNT
from .replica cimport ABOUT_VERSION, Replica
from .system cimport monotonic_ms
from .text cimport Text, text_format, text_open, text_string

cdef extern from "atomic.h" nogil:
    uint32_t get "atomic_get"(const uint32_t *place)
    uint64_t get_count "atomic_get"(const uint64_t *place)

cdef extern from *:
    const char *YINYANG_VERSION

cdef enum:
    METRICS_MOST = 4096  # bytes of the body


cdef inline void metrics_render(Text *text, const Framing *f, bint keep, int64_t second, const Replica *replica,
                                const Board *board) noexcept nogil:
    cdef const char *app_version = replica.about[ABOUT_VERSION]
    cdef Counts counts = board_counts(board)
    cdef char bytes[METRICS_MOST]
    cdef Text body
    if app_version == NULL:
        app_version = ""
    text_open(&body, bytes, METRICS_MOST)
    metrics_requests(&body, board, counts.pages)
    metrics_totals(&body, board, &counts)
    text_format(&body, "# HELP yinyang_build_info versions\n"
                "# TYPE yinyang_build_info gauge\nyinyang_build_info{version=%-s,app_version=%-s} 1\n",
                YINYANG_VERSION, app_version)
    fresh_begin(text, f, 200, second, "text/plain; version=0.0.4; charset=utf-8", &body)
    fresh_end(text, f, keep, &body)


cdef inline void metrics_requests(Text *text, const Board *board, uint64_t pages) noexcept nogil:
    """Answers by status and route. What is wrong was asked of no route."""
    cdef const char *route = "empty\0livez\0wall\0redirect\0whoami\0readyz\0metrics\0readyz\0"  # by answer
    cdef int answer = ANSWER_EMPTY, count
    cdef int first = 1, wrong
    text_string(text, "# HELP http_requests_total answers, by status and route\n# TYPE http_requests_total counter\n")
    requests(text, 200, "page", pages)
    while answer < ANSWER_WRONG:
        count = 2 if answer_ends(<uint8_t>answer) else 1 if answer_is_rendered(<uint8_t>answer) else 2 * FORMS
        requests(text, 503 if answer == ANSWER_UNREADY else 301 if answer == ANSWER_REDIRECT else 200, route,
                 answered(board, answer, count))
        route += strlen(route) + 1
        answer += count
    for wrong in range(1, WRONG_COUNT):
        if wrong + 1 == WRONG_COUNT or wrong_statuses[wrong + 1] != wrong_statuses[wrong]:  # they are in this order
            requests(text, wrong_statuses[wrong], "error", answered(board, ANSWER_WRONG + first, wrong + 1 - first)
                     + answered(board, ANSWER_WRONG_HEAD + first, wrong + 1 - first))
            first = wrong + 1


cdef inline void metrics_totals(Text *text, const Board *board, const Counts *counts) noexcept nogil:
    text_format(
        text,
        "# HELP yinyang_connections_accepted_total connections accepted\n"
        "# TYPE yinyang_connections_accepted_total counter\nyinyang_connections_accepted_total %lu\n"
        "# HELP yinyang_connections_open connections open now\n"
        "# TYPE yinyang_connections_open gauge\nyinyang_connections_open %lu\n"
        "# HELP yinyang_pages_total pages served\n"
        "# TYPE yinyang_pages_total counter\nyinyang_pages_total %lu\n"
        "# HELP yinyang_draining 1 once told to stop\n"
        "# TYPE yinyang_draining gauge\nyinyang_draining %lu\n"
        "# HELP yinyang_workers processes\n"
        "# TYPE yinyang_workers gauge\nyinyang_workers %lu\n"
        "# HELP yinyang_workers_ready processes that serve\n"
        "# TYPE yinyang_workers_ready gauge\nyinyang_workers_ready %lu\n"
        "# HELP process_start_time_seconds start, since 1970\n"
        "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %lu\n",
        counts.accepted, counts.open, counts.pages, <uint64_t>(get(&board.phase) != PHASE_SERVE),
        <uint64_t>board.workers, <uint64_t>board_ready(board, monotonic_ms()), <uint64_t>board.started)


cdef inline uint64_t answered(const Board *board, int first, int count) noexcept nogil:
    """How often all workers gave one of some answers."""
    cdef uint64_t all_ = 0
    cdef uint32_t i
    cdef int answer
    for i in range(board.workers):
        for answer in range(first, first + count):
            all_ += get_count(&board.seats[i].answered[answer])
    return all_


cdef inline void requests(Text *text, int status, const char *route, uint64_t count) noexcept nogil:
    text_format(text, 'http_requests_total{code="%lu",route="%s"} %lu\n', <uint64_t>status, route, count)
