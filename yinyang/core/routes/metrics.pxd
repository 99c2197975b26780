"""`/metrics`: the counters of all workers, in the text format of Prometheus (version 0.0.4)."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport strcmp

from ..http.responses cimport ROUTE_COUNT, STATUS_2, STATUS_COUNT, routes, statuses
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
    METRICS_MAX = 4608  # bytes of the body, whose numbers have up to 20 digits


cdef inline int metrics_render(Text *text, const Request *request) noexcept nogil:
    cdef const char *app_version = request.replica.about[ABOUT_VERSION]
    cdef char bytes[METRICS_MAX]
    cdef Text body
    if app_version == NULL:
        app_version = ""
    text_open(&body, bytes, METRICS_MAX)
    metrics_requests(&body, request.scoreboard)
    metrics_totals(&body, request.scoreboard)
    metric_begin(&body, "yinyang_build_info", "gauge", "versions")
    text_format(&body, "yinyang_build_info{version=%-s,app_version=%-s} 1\n", YINYANG_VERSION, app_version)
    response_begin(text, request, 200, "text/plain; version=0.0.4; charset=utf-8", &body)
    response_end(text, request, &body)
    return 200


cdef inline void metrics_requests(Text *text, const Scoreboard *scoreboard) noexcept nogil:
    """Responses by status and route."""
    cdef int route, status
    metric_begin(text, "http_requests_total", "counter", "answers, by status and route")
    for route in range(ROUTE_COUNT):
        if first_with_label(route) != route:
            continue
        for status in range(STATUS_COUNT):
            if routes[route].codes >> status & 1:
                metric_requests(text, status, routes[route].label, answered_by_label(scoreboard, route, status))


cdef inline void metric_requests(Text *text, int status, const char *label, uint64_t count) noexcept nogil:
    text_string(text, 'http_requests_total{code="')
    if status < STATUS_2:
        text_format(text, "%llu", <llu>statuses[status].code)
    else:
        text_string(text, statuses[status].text)
    text_format(text, '",route="%s"} %llu\n', label, <llu>count)


cdef inline int first_with_label(int route) noexcept nogil:
    """The first route with the label of this one."""
    cdef int first = 0
    while strcmp(routes[first].label, routes[route].label):
        first += 1
    return first


cdef inline uint64_t answered_by_label(const Scoreboard *scoreboard, int first, int status) noexcept nogil:
    """The number of responses of all routes with the label of `first`, which is the first of them."""
    cdef uint64_t count = 0
    cdef int route
    for route in range(first, ROUTE_COUNT):
        if first_with_label(route) == first:
            count += scoreboard_answered(scoreboard, route, status)
    return count


cdef inline void metrics_totals(Text *text, const Scoreboard *scoreboard) noexcept nogil:
    cdef Counts counts = scoreboard_counts(scoreboard)
    cdef bint draining = scoreboard_phase(scoreboard) != PHASE_SERVING
    cdef uint32_t ready = scoreboard_ready_workers(scoreboard, monotonic_ms())
    metric(text, "yinyang_connections_accepted_total", "counter", "connections accepted", counts.accepted)
    metric(text, "yinyang_connections_open", "gauge", "connections open now", counts.open)
    metric(text, "yinyang_connections_max", "gauge", "connections that can be open", counts.open_max)
    metric(text, "yinyang_connections_shed_total", "counter", "connections closed to make room for others", counts.shed)
    metric(text, "yinyang_pages_total", "counter", "pages served", counts.pages)
    metric(text, "yinyang_draining", "gauge", "1 once told to stop", draining)
    metric(text, "yinyang_workers", "gauge", "processes", scoreboard.workers)
    metric(text, "yinyang_workers_ready", "gauge", "processes that serve", ready)
    metric(text, "process_start_time_seconds", "gauge", "start, since 1970", <uint64_t>scoreboard.notice.started)


cdef inline void metric(Text *text, const char *name, const char *type_, const char *description,
                        uint64_t value) noexcept nogil:
    """Append a metric with one sample without labels."""
    metric_begin(text, name, type_, description)
    text_format(text, "%s %llu\n", name, <llu>value)


cdef inline void metric_begin(Text *text, const char *name, const char *type_,
                              const char *description) noexcept nogil:
    """Append the lines before the samples of a metric."""
    text_format(text, "# HELP %s %s\n# TYPE %s %s\n", name, description, name, type_)
