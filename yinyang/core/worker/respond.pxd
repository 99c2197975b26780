"""From a request that is complete to its response, in the send queue of the worker."""

from libc.stdint cimport uint32_t, uint64_t, uint8_t

from ..http.parser cimport (
    ERROR_PROXY_HEADER, ERROR_PROXY_TWICE, FLAG_CODING, FLAG_LENGTH, Parser, Target, http_errors, parser_keeps_alive,
    parser_read_accept, target_keep
)
from ..http.head_record cimport head_record_give_back, head_record_of, head_record_put_target, head_record_take
from ..http.responses cimport (
    ECHOES, FAULTS, LOGGED, READS_ACCEPT, RENDERED, ROUTE_ERROR, ROUTE_PAGE, ROUTE_WHOAMI, Route, STATUS_200, class_of,
    response_of, response_of_error, routes, status_counted, status_of
)
from ..http.send_queue cimport (
    send_queue_has_room, send_queue_put, send_queue_put_rendered, send_queue_reserve, send_queue_send
)
from ..routes.faults cimport Lateness, fault_of, faults_next_late, lateness_of, may_be_faulty
from ..routes.refresh cimport REFRESH_MAX, every_asked, refresh_field, refresh_render
from ..routes.request cimport Request
from ..routes.status cimport fault_render
from ..routes.whoami cimport ANY_ORIGIN
from ..routes.table cimport route_for, route_keeps_alive, route_render
from ..shared.page_ring cimport page_ring_add
from ..shared.scoreboard cimport slot_count, slot_count_late
from ..text.buffer cimport Text
from .clients cimport Clients, Connection


cdef inline void client_log(Clients *clients, uint64_t lines) noexcept nogil:
    if lines and clients.log_pages:
        clients.logged += lines
        page_ring_add(&clients.slot.page_ring, clients.ring_oldest, clients.second, lines)


cdef inline void client_put_error(Clients *clients, const Connection *c, int error) noexcept nogil:
    if error == ERROR_PROXY_HEADER and clients.proxy_protocol:
        error = ERROR_PROXY_TWICE  # the first one is read before there is a request
    if not c.answered:
        slot_count(clients.slot, ROUTE_ERROR, status_of(http_errors[error].status))
        send_queue_put(&clients.send_queue, response_of_error(error, &c.parser))


cdef inline const uint8_t *client_target(Clients *clients, uint32_t fd, const Target *target) noexcept nogil:
    """The kept part of the target: in its segment, or put together from several segments."""
    if target.bytes != NULL and target.offset == 0:
        return target.bytes
    target_keep(&clients.table[fd].parser, target, clients.targets[fd])
    return clients.targets[fd]


cdef inline void client_route(Clients *clients, uint32_t fd, const Target *target) noexcept nogil:
    """The target is complete, or more of it has come than is kept: find its route."""
    cdef Connection *c = &clients.table[fd]
    cdef uint8_t flags
    c.route = <uint8_t>route_for(&c.parser, client_target(clients, fd, target), clients.replica.plain)
    flags = routes[c.route].flags
    if flags & READS_ACCEPT:
        parser_read_accept(&c.parser)
    if flags & ECHOES:
        if c.head == 0:
            c.head = head_record_take(&clients.heads)
        if c.head:
            head_record_put_target(head_record_of(&clients.heads, c.head), &c.parser, target, clients.targets[fd])


cdef inline bint client_respond(Clients *clients, uint32_t fd, const Target *target,
                                bint in_one_segment) noexcept nogil:
    """Respond to the complete request; return whether the log has a line for it."""
    cdef Connection *c = &clients.table[fd]
    cdef Parser *p = &c.parser
    cdef uint8_t route = c.route
    cdef Request request
    cdef int fault = 0
    cdef int every = 0
    cdef bint put
    c.count += 1
    client_request(clients, fd, target, &request)
    if may_be_faulty(route, p, clients.replica, clients.scoreboard):
        fault = fault_of(&clients.faults, route, &request)
        if not c.late:
            faults_next_late(&clients.faults)
        if route == ROUTE_PAGE:
            every = every_asked(&request)
        if every:
            request.keep_alive = False
    if fault or every or routes[route].kind == RENDERED:
        put = client_render(clients, route, &request, fault, every)
    else:
        put = send_queue_put(&clients.send_queue, response_of(route, p, request.keep_alive))
        client_count(clients, route, STATUS_200, 200)
    c.ends = not put or not request.keep_alive
    c.late = False
    if c.head:
        head_record_give_back(&clients.heads, &c.head)
    # A client is not expected to send more if it asked for the end in one segment that ends with its request. If it did
    # not ask, or sent a body or several segments, it may send more: some clients send a CR LF after each body.
    c.lingers = c.ends and (not in_one_segment or parser_keeps_alive(p) or p.flags & (FLAG_LENGTH | FLAG_CODING) != 0)
    return fault == 0 and routes[route].flags & LOGGED != 0


cdef inline void client_count(Clients *clients, int route, int status, int code) noexcept nogil:
    """Count a response to a valid request."""
    slot_count(clients.slot, route, status)
    if clients.took:
        slot_count_late(clients.slot, route, class_of(code) - class_of(200), clients.took)
        clients.took = 0


cdef inline bint client_is_late(Clients *clients, uint32_t fd, const Target *target, bint has_rest,
                                Lateness *lateness) noexcept nogil:
    """Whether the response to the complete request is due later. What follows the request is kept meanwhile; if there
    is no room for that, the response is due now. Responses before this one are sent first; it is asked for again
    then."""
    cdef Connection *c = &clients.table[fd]
    cdef Request request
    if not may_be_faulty(c.route, &c.parser, clients.replica, clients.scoreboard):
        return False
    if c.late or clients.ending or has_rest and clients.kept_bytes.rests.free.count == 0:
        return False
    client_request(clients, fd, target, &request)
    return lateness_of(lateness, clients.faults.late_turn, c.route, &request)


cdef inline void client_request(Clients *clients, uint32_t fd, const Target *target,
                                Request *request) noexcept nogil:
    cdef const Connection *c = &clients.table[fd]
    request.parser = &c.parser
    request.target = client_target(clients, fd, target)
    request.replica = clients.replica
    request.scoreboard = clients.scoreboard
    request.second = clients.second
    request.number = c.count
    request.fd = <int>fd
    request.head = head_record_of(&clients.heads, c.head)
    request.source = &clients.sources[fd] if clients.proxy_protocol else NULL
    request.keep_alive = (parser_keeps_alive(&c.parser) and not clients.draining
                          and route_keeps_alive(c.route, request))


cdef inline bint client_has_room(Clients *clients, uint32_t fd) noexcept nogil:
    """Whether there is room for the current response: a limited number is rendered before the client has to take
    some."""
    cdef const Route *row = &routes[clients.table[fd].route]
    if (row.kind == RENDERED or row.flags & FAULTS) and not send_queue_has_room(&clients.send_queue):
        send_queue_send(&clients.send_queue, clients.responses, fd)  # an error shows when the rest is sent
        return send_queue_has_room(&clients.send_queue)
    return True


cdef inline bint client_render(Clients *clients, int route, const Request *request, int fault,
                               int every) noexcept nogil:
    """Render a response, or the fault in its place, and queue it; False if there is no room, which must not happen. A
    page that is to be asked for `every` so many seconds is so too where it is a fault."""
    cdef Text text
    cdef char refresh[REFRESH_MAX]
    cdef const char *fields = refresh
    cdef int code
    refresh_field(refresh, every)
    if not send_queue_reserve(&clients.send_queue, &text):
        return False
    if fault:
        if route == ROUTE_WHOAMI:
            fields = ANY_ORIGIN
        code = fault_render(&text, request, fault, fields)
        client_count(clients, route, class_of(code), code)
    elif every:
        code = refresh_render(&text, request, clients.responses, refresh)
        client_count(clients, route, STATUS_200, code)
    else:
        code = route_render(route, &text, request, clients.slot)
        client_count(clients, route, status_counted(route, code), code)
    return send_queue_put_rendered(&clients.send_queue, &text)
