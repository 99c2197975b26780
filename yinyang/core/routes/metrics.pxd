"""`/metrics`: the counters of all workers, in the text format of Prometheus (version 0.0.4)."""

from libc.stdint cimport uint64_t
from libc.string cimport strcmp

from ..http.responses cimport ROUTE_COUNT, STATUS_COUNT, routes, statuses
from ..identity.replica cimport ABOUT_VERSION
from ..os.syscalls cimport monotonic_ms
from ..shared.scoreboard cimport (
    Counts, PHASE_SERVING, Scoreboard, scoreboard_answered, scoreboard_counts, scoreboard_phase,
    scoreboard_ready_workers
)
from ..text.buffer cimport Text, llu, text_format, text_open, text_string
from .request cimport Request, response_begin, response_end

cdef extern from *:
    const char *YINYANG_VERSION

cdef enum:
    METRICS_MAX = 4096  # bytes of the body


cdef inline int metrics_render(Text *text, const Request *request) noexcept nogil:
    cdef const char *app_version = request.replica.about[ABOUT_VERSION]
    cdef char bytes[METRICS_MAX]
    cdef Text body
    if app_version == NULL:
        app_version = ""
    text_open(&body, bytes, METRICS_MAX)
    metrics_requests(&body, request.scoreboard)
    metrics_totals(&body, request.scoreboard)
    text_format(&body, "# HELP yinyang_build_info versions\n"
                "# TYPE yinyang_build_info gauge\nyinyang_build_info{version=%-s,app_version=%-s} 1\n",
                YINYANG_VERSION, app_version)
    response_begin(text, request, 200, "text/plain; version=0.0.4; charset=utf-8", &body)
    response_end(text, request, &body)
    return 200


cdef inline void metrics_requests(Text *text, const Scoreboard *scoreboard) noexcept nogil:
    """Responses by status and route."""
    cdef int route, status
    text_string(text, "# HELP http_requests_total answers, by status and route\n# TYPE http_requests_total counter\n")
    for route in range(ROUTE_COUNT):
        if first_with_label(route) != route:
            continue
        for status in range(STATUS_COUNT):
            if routes[route].codes >> status & 1:
                text_format(text, 'http_requests_total{code="%llu",route="%s"} %llu\n', <llu>statuses[status].code,
                            routes[route].label, <llu>answered_by_label(scoreboard, route, status))


cdef inline int first_with_label(int route) noexcept nogil:
    """The first route with the label of this one."""
    cdef int first = 0
    while strcmp(routes[first].label, routes[route].label):
        first += 1
    return first


cdef inline uint64_t answered_by_label(const Scoreboard *scoreboard, int first, int status) noexcept nogil:
    """The responses of all routes that share a label, of which `first` is the first."""
    cdef uint64_t count = 0
    cdef int route
    for route in range(first, ROUTE_COUNT):
        if first_with_label(route) == first:
            count += scoreboard_answered(scoreboard, route, status)
    return count


cdef inline void metrics_totals(Text *text, const Scoreboard *scoreboard) noexcept nogil:
    cdef Counts counts = scoreboard_counts(scoreboard)
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
        <llu>(scoreboard_phase(scoreboard) != PHASE_SERVING), <llu>scoreboard.workers,
        <llu>scoreboard_ready_workers(scoreboard, monotonic_ms()), <llu>scoreboard.notice.started)
