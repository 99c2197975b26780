"""`/metrics`: the counters of all workers, in the text format of Prometheus (version 0.0.4)."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset, strcmp

from ..http.responses cimport FAULTS, LATE_ROUTES, ROUTE_COUNT, STATUS_2, STATUS_COUNT, routes, statuses
from ..identity.replica cimport ABOUT_VERSION
from ..os.atomic cimport atomic_get_u64
from ..os.syscalls cimport monotonic_ms
from ..shared.scoreboard cimport (
    Counts, DURATION_BUCKETS, Late, PHASE_SERVING, STATUS_CLASSES, Scoreboard, duration_buckets, scoreboard_answered,
    scoreboard_counts, scoreboard_phase, scoreboard_ready_workers, scoreboard_slot
)
from ..text.buffer cimport Text, llu, text_format, text_open, text_string
from .request cimport Request, response_begin, response_end

cdef extern from *:
    const char *YINYANG_VERSION

cdef enum:
    METRICS_MAX = 38912  # bytes of the body, whose numbers have up to 20 digits


cdef inline int metrics_render(Text *text, const Request *request) noexcept nogil:
    cdef const char *app_version = request.replica.about[ABOUT_VERSION]
    cdef char bytes[METRICS_MAX]
    cdef Text body
    if app_version == NULL:
        app_version = ""
    text_open(&body, bytes, METRICS_MAX)
    metrics_requests(&body, request.scoreboard)
    metrics_durations(&body, request.scoreboard)
    metrics_totals(&body, request.scoreboard)
    metric_begin(&body, "yinyang_build_info", "gauge", "versions")
    text_format(&body, "yinyang_build_info{version=%-s,app_version=%-s} 1\n", YINYANG_VERSION, app_version)
    response_begin(text, request, 200, "text/plain; version=0.0.4; charset=utf-8", &body)
    response_end(text, request, &body)
    return 200


cdef inline void metrics_requests(Text *text, const Scoreboard *scoreboard) noexcept nogil:
    """Responses by status and path, labels that podinfo has too."""
    cdef int route, status
    metric_begin(text, "http_requests_total", "counter", "answers, by status and path")
    for route in range(ROUTE_COUNT):
        if first_with_label(route) != route:
            continue
        for status in range(STATUS_COUNT):
            if routes[route].codes >> status & 1:
                metric_requests(text, status, routes[route].label, answered_by_label(scoreboard, route, status))


cdef inline void metric_requests(Text *text, int status, const char *label, uint64_t count) noexcept nogil:
    text_string(text, 'http_requests_total{status="')
    if status < STATUS_2:
        text_format(text, "%llu", <llu>statuses[status].code)
    else:
        text_string(text, statuses[status].text)
    text_format(text, '",path="%s"} %llu\n', label, <llu>count)


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


cdef inline void metrics_durations(Text *text, const Scoreboard *scoreboard) noexcept nogil:
    """A histogram for each path whose responses can be late, and one for all other paths together; for each class of
    statuses that there was. Responses that were not late belong to the first bucket: they are sent in the turn of the
    worker in which their requests come."""
    cdef int route, status_class
    metric_begin(text, "http_request_duration_seconds", "histogram", "seconds until the answer, by path and status")
    for status_class in range(STATUS_CLASSES):
        for route in range(ROUTE_COUNT):
            if first_that_can_be_late(routes[route].label) == route:
                metric_durations(text, scoreboard, routes[route].label, status_class)
        metric_durations(text, scoreboard, NULL, status_class)


cdef inline int first_that_can_be_late(const char *label) noexcept nogil:
    """The first route with this label whose responses can be late; ROUTE_COUNT if there is none."""
    cdef int route = 0
    while route < ROUTE_COUNT and (strcmp(routes[route].label, label) or not routes[route].flags & FAULTS):
        route += 1
    return route


cdef inline void metric_durations(Text *text, const Scoreboard *scoreboard, const char *label,
                                  int status_class) noexcept nogil:
    """The histogram of the routes with this label that can be late; of all that cannot for NULL."""
    cdef bint belongs
    cdef uint64_t below
    cdef uint64_t ms = 0, count = 0, later = 0
    cdef uint64_t counts[DURATION_BUCKETS + 1]
    cdef int route, bucket
    memset(counts, 0, sizeof(counts))
    for route in range(ROUTE_COUNT):
        belongs = routes[route].flags & FAULTS == 0
        if label != NULL:
            belongs = not belongs and strcmp(routes[route].label, label) == 0
        if belongs:
            # the late ones first: they are counted last
            ms += late_add(scoreboard, route, status_class, counts) if route < LATE_ROUTES else 0
            count += answered_of_class(scoreboard, route, status_class)
    if count == 0:
        return
    if label == NULL:
        label = "other"
    for bucket in range(1, DURATION_BUCKETS + 1):
        later += counts[bucket]
    below = count - later if later < count else 0
    for bucket in range(DURATION_BUCKETS):
        below += counts[bucket]
        text_format(text, 'http_request_duration_seconds_bucket{path="%s",status="%s",le="%s"} %llu\n', label,
                    statuses[STATUS_2 + status_class].text, duration_buckets[bucket].seconds, <llu>below)
    text_format(text, 'http_request_duration_seconds_bucket{path="%s",status="%s",le="+Inf"} %llu\n', label,
                statuses[STATUS_2 + status_class].text, <llu>count)
    text_format(text, 'http_request_duration_seconds_sum{path="%s",status="%s"} %llu.', label,
                statuses[STATUS_2 + status_class].text, <llu>(ms // 1000))
    text_format(text, "%llu%02llu\n", <llu>(ms // 100 % 10), <llu>(ms % 100))
    text_format(text, 'http_request_duration_seconds_count{path="%s",status="%s"} %llu\n', label,
                statuses[STATUS_2 + status_class].text, <llu>count)


cdef inline uint64_t answered_of_class(const Scoreboard *scoreboard, int route, int status_class) noexcept nogil:
    cdef uint64_t count = 0
    cdef int status
    for status in range(STATUS_COUNT):
        if routes[route].codes >> status & 1 and class_of_status(status) == status_class:
            count += scoreboard_answered(scoreboard, route, status)
    return count


cdef inline int class_of_status(int status) noexcept nogil:
    """0 for one of 2xx, to 3 for one of 5xx."""
    return statuses[status].code // 100 - 2 if status < STATUS_2 else status - STATUS_2


cdef inline uint64_t late_add(const Scoreboard *scoreboard, int route, int status_class,
                              uint64_t *counts) noexcept nogil:
    """Add the late responses of all workers to the buckets; the ms that they took."""
    cdef const Late *late
    cdef uint64_t ms = 0
    cdef uint32_t i
    cdef int bucket
    for i in range(scoreboard.workers):
        late = &scoreboard_slot(scoreboard, i).late[route][status_class]
        ms += atomic_get_u64(&late.ms)
        for bucket in range(DURATION_BUCKETS + 1):
            counts[bucket] += atomic_get_u64(&late.counts[bucket])
    return ms


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
