"""From a request to its route, and from a route to its response.

csrc/routes.h has a row for each route. Here a prebuilt route has its body in `route_body`, a rendered one its renderer
in `route_render`.
"""

from libc.stdint cimport uint32_t, uint8_t

from ..http.parser cimport ERROR_COUNT, FLAG_ASTERISK, FLAG_UNCLEAN, METHOD_OPTIONS, Parser, STATE_QUERY, TARGET_KEPT
from ..http.responses cimport (
    ENDS, ENDS_UNLESS_ASKED, KEEPS, NO_CACHE, PAGE_COPIES, PLAIN, PREBUILT, ROUTE_BURN, ROUTE_COUNT, ROUTE_DELAY,
    ROUTE_DISABLE, ROUTE_ENABLE, ROUTE_FAULTS_OFF, ROUTE_FAULTS_ON, ROUTE_PAGE, Responses, Route, VARIANT_CLOSE,
    VARIANT_KEEP_ALIVE, response_begin_prebuilt, response_end_prebuilt, response_prebuild_error, response_repeat,
    responses_allocate, route_of, routes
)
from ..identity.page cimport page_render
from ..identity.replica cimport ABOUT_VERSION, Replica
from ..shared.scoreboard cimport WorkerSlot
from ..text.buffer cimport Text, text_format, text_measure, text_open, text_put, text_string
from .control cimport control_render, faults_render
from .echo cimport echo_render
from .late cimport late_render
from .metrics cimport metrics_render
from .readyz cimport readyz_render
from .redirect cimport redirect_render
from .request cimport Request, request_asks
from .status cimport status_render, words_render
from .whoami cimport whoami_render

cdef extern from "routes.h" nogil:
    enum:
        ROUTE_ANYTHING
        ROUTE_ECHO
        ROUTE_EMPTY
        ROUTE_FAULTS_STATUS
        ROUTE_HEADERS
        ROUTE_HEALTHZ
        ROUTE_HOSTNAME
        ROUTE_LIVEZ
        ROUTE_METRICS
        ROUTE_NO_CONTROL
        ROUTE_NO_HEALTH
        ROUTE_NO_READY
        ROUTE_NO_READYZ
        ROUTE_READY
        ROUTE_HEALTH
        ROUTE_READYZ
        ROUTE_STATUS
        ROUTE_REDIRECT
        ROUTE_WALL
        ROUTE_WHOAMI
    const char *PLAIN_TEXT "\"Content-Type: text/plain; charset=utf-8\\r\\n\""

cdef enum:
    FIELDS_MAX = 1024  # bytes of the fields of a prebuilt response: those of csrc/routes.h, a name and a version

cdef extern from "wall.h" nogil:
    enum:
        WALL_SIZE
    const char *wall_bytes "(const char *)wall"


cdef inline int route_for(const Parser *p, const uint8_t *target, bint plain) noexcept nogil:
    """The route of a request; `target` has its first TARGET_KEPT bytes. Where the path is not complete yet, or longer,
    these decide, as the path of no row is as long."""
    cdef uint32_t path_end = p.path_end if p.state >= STATE_QUERY else p.target_length
    path_end = min(path_end, <uint32_t>TARGET_KEPT)
    if p.flags & FLAG_ASTERISK:
        return ROUTE_EMPTY
    if p.flags & FLAG_UNCLEAN and p.target_length <= TARGET_KEPT:
        return ROUTE_REDIRECT
    if p.path < path_end:
        return route_of(target + p.path, path_end - p.path, p.method == METHOD_OPTIONS, plain)
    return ROUTE_PAGE


cdef inline bint route_keeps_alive(int route, const Request *request) noexcept nogil:
    """Whether the response allows the connection to persist."""
    cdef uint8_t end = routes[route].end
    return end == KEEPS or end == ENDS_UNLESS_ASKED and request_asks(request, "keep=1")


cdef inline void route_fields(int route, Text *text, const Replica *replica) noexcept nogil:
    """The fields of a prebuilt response."""
    if route != ROUTE_PAGE:
        text_string(text, routes[route].fields)
        return
    text_string(text, routes[route].fields if replica.text == NULL else PLAIN_TEXT)
    if replica.served_by:  # a cache in front would give one replica's name to all clients
        text_string(text, NO_CACHE)
        text_string(text, "X-Served-By: ")
        text_put(text, replica.identity.name, replica.identity.length)
        text_string(text, "\r\n")
        if replica.about[ABOUT_VERSION] != NULL:
            text_format(text, "X-Version: %s\r\n", replica.about[ABOUT_VERSION])


cdef inline void route_body(int route, Text *text, const Replica *replica) noexcept nogil:
    """The body of a prebuilt response."""
    if route == ROUTE_PAGE and replica.text != NULL:
        text_format(text, "%s\n", replica.text)
    elif route == ROUTE_PAGE:
        page_render(text, replica)
    elif route == ROUTE_LIVEZ or route == ROUTE_HEALTHZ:
        text_string(text, "ok\n")
    elif route == ROUTE_HOSTNAME:
        text_put(text, replica.identity.name, replica.identity.length)
        text_string(text, "\n")
    elif route == ROUTE_WALL:
        text_put(text, wall_bytes, WALL_SIZE)


cdef inline int route_render(int route, Text *text, const Request *request, WorkerSlot *slot) noexcept nogil:
    """A response that is not prebuilt; its status code. Commands to the parent go into the worker's slot."""
    if route == ROUTE_WHOAMI:
        return whoami_render(text, request)
    if route == ROUTE_STATUS:
        return status_render(text, request)
    if route == ROUTE_READYZ or route == ROUTE_READY or route == ROUTE_HEALTH:
        return readyz_render(text, request)
    if route == ROUTE_ECHO or route == ROUTE_HEADERS or route == ROUTE_ANYTHING:
        return echo_render(text, request)
    if route == ROUTE_DELAY or route == ROUTE_BURN:
        return late_render(text, request, route)
    if route == ROUTE_DISABLE or route == ROUTE_ENABLE or route == ROUTE_FAULTS_ON or route == ROUTE_FAULTS_OFF:
        return control_render(text, request, route, slot)
    if route == ROUTE_FAULTS_STATUS:
        return faults_render(text, request)
    if route == ROUTE_NO_CONTROL:
        return words_render(text, request, 404, "there are POST /fault_injection/enable and /fault_injection/disable, "
                            "and GET /fault_injection/status", "")
    if route == ROUTE_NO_READYZ or route == ROUTE_NO_READY or route == ROUTE_NO_HEALTH:
        return words_render(text, request, 404, "there are POST /readyz/disable and /readyz/enable, and GET /readyz",
                            "")
    if route == ROUTE_METRICS:
        return metrics_render(text, request)
    return redirect_render(text, request)


# ---- prebuilding --------------------------------------------------------------------------------------------------

cdef inline int responses_open(Responses *responses, const Replica *replica) noexcept nogil:
    """Prebuild all responses: first to measure them, then into memory of that size. 0 or -errno."""
    cdef Text text
    cdef int error
    text_measure(&text)
    responses_prebuild(responses, &text, replica)
    error = responses_allocate(responses, text.length)
    if error:
        return error
    text_open(&text, responses.bytes, responses.size)
    responses_prebuild(responses, &text, replica)
    return 0


cdef inline void responses_prebuild(Responses *responses, Text *text, const Replica *replica) noexcept nogil:
    cdef int route, error
    for route in range(ROUTE_COUNT):
        if routes[route].kind == PREBUILT and (routes[route].flags & PLAIN or not replica.plain):
            route_prebuild(route, responses, text, replica)
    for error in range(1, ERROR_COUNT):
        response_prebuild_error(responses, text, error)


cdef inline void route_prebuild(int route, Responses *responses, Text *text, const Replica *replica) noexcept nogil:
    """All variants of a response."""
    cdef const Route *row = &routes[route]
    cdef int i, number
    cdef Text body, own
    cdef char fields[FIELDS_MAX]
    text_open(&own, fields, FIELDS_MAX - 1)
    route_fields(route, &own, replica)
    fields[min(own.length, own.room)] = 0
    text_measure(&body)
    route_body(route, &body, replica)
    for i in range(row.variants):
        number = row.response + i
        response_begin_prebuilt(responses, text, number, 200, VARIANT_CLOSE if row.end == ENDS else i, fields,
                                body.length)
        route_body(route, text, replica)
        response_end_prebuilt(responses, text, number, number + row.variants, body.length)
        if route == ROUTE_PAGE and i == VARIANT_KEEP_ALIVE:
            response_repeat(responses, text, number, PAGE_COPIES)
