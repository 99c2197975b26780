"""The connections of a worker: receiving, responding, and the deadlines of each client.

A connection is a Connection and a TimerNode, in tables indexed by its descriptor. The tables have room for all admitted
connections; their pages are zero and cost nothing until they are used. Two more tables hold the beginning of a target
while its request is incomplete, and the responses that a slow reader has not taken. Nothing is allocated later, and a
client cannot make its memory grow.

    idle -> head -> body -> (responses are sent) -> idle       the kinds of waiting (worker/timers.pxd)
                                |  not all are taken: send -> idle
                                |  after the last one, if more bytes may come: linger -> closed
                                '  after the last one: closed

A response is sent when its request is complete, because proxies and clients that get it earlier stop sending. But a
client may wait for the response before it begins a long body. It then gets the response, and the body is still read:
answer -> body.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memset

from ..http.parser cimport (
    ERROR_SLOW_BODY, FLAG_BODY_AWAITED, FLAG_CODING, FLAG_LENGTH, OUTCOME_MORE, OUTCOME_READY, OUTCOME_TARGET, Parser,
    STATE_BODY, TARGET_KEPT, Target, http_errors, parser_asks_for_body, parser_error_at_end, parser_error_when_slow,
    parser_feed, parser_has_begun, parser_is_new, parser_keeps_alive, parser_next, parser_read_accept, parser_skip,
    parser_skippable, target_begin, target_keep
)
from ..http.responses cimport (
    FAULTS, LOGGED, READS_ACCEPT, RENDERED, ROUTE_DISABLE, ROUTE_ENABLE, ROUTE_ERROR, ROUTE_WHOAMI, Responses, Route,
    STATUS_200, class_of, response_of, response_of_error, routes, status_counted, status_of
)
from ..http.send_queue cimport (
    KEPT_MAX, KeptBytes, PendingSend, RECEIVE_MAX, RENDERED_MAX, SENT_ALL, SENT_FAILED, SendQueue, kept_bytes_open,
    pending_send_drop, send_queue_clear, send_queue_has_room, send_queue_put, send_queue_put_rendered,
    send_queue_put_rest, send_queue_reserve, send_queue_restore, send_queue_save, send_queue_send
)
from ..identity.replica cimport Replica
from ..os.capacity cimport OTHER_DESCRIPTORS, descriptors_for_connections
from ..os.syscalls cimport (
    EAGAIN, EINTR, ENOMEM, EPOLLIN, EPOLLOUT, EPOLL_CTL_ADD, EPOLL_CTL_MOD, MAP_NORESERVE, MAP_PRIVATE,
    MSG_DONTWAIT, MSG_TRUNC, SHUT_WR, close, epoll_watch, errno, map_memory, recv, shutdown
)
from ..routes.faults cimport Faults, fault_of
from ..routes.request cimport Request
from ..routes.status cimport fault_render
from ..routes.whoami cimport ANY_ORIGIN
from ..routes.table cimport route_for, route_keeps_alive, route_render
from ..shared.page_ring cimport page_ring_add
from ..shared.scoreboard cimport Scoreboard, WorkerSlot, slot_ask_ready, slot_count
from ..text.buffer cimport Text, text_string
from .timers cimport (
    READ_RATE_MIN, SEND_RATE_MIN, TimerNode, Timers, WAIT_ANSWER, WAIT_BODY, WAIT_FAREWELL, WAIT_HEAD, WAIT_IDLE,
    WAIT_LINGER, WAIT_SEND, timers_progress, timers_start, timers_stop
)

cdef enum:
    CONNECTIONS_FEW = 64  # with memory for fewer, a worker does not start
    DISCARD_MAX = 64 * 1024  # bytes of a body dropped at once

cdef struct Connection:
    Parser parser
    uint32_t count  # requests that are answered
    uint32_t late_in_sending  # ms, in this wait (worker/timers.pxd)
    uint32_t late_in_reading  # ms, in all waits
    uint8_t answered  # the current request has its response, before its body is complete
    uint8_t suspended  # the current request is complete; its response waits for the ones before
    uint8_t route  # of the current request, once its target is complete
    uint8_t ends  # after the responses that are not sent yet
    uint8_t lingers  # when it ends, because the client may still send
    uint8_t watched  # by epoll

cdef struct Clients:  # large members come last, so the code reaches the others with short offsets
    Connection *table
    Responses *responses
    const Replica *replica
    const Scoreboard *scoreboard
    WorkerSlot *slot
    const uint64_t *ring_oldest  # of the reader of its page ring
    int64_t now  # ms, as of this wake-up
    int64_t second  # of the wall clock, likewise
    uint64_t logged  # lines in the page ring, ever
    uint64_t commanded  # requests for a change of readiness, ever
    uint64_t silent  # connections with nothing to receive when they were accepted, ever
    uint32_t table_size  # the first descriptor that has no place in the tables
    int epoll
    bint log_pages  # whether each page is logged
    Faults faults
    bint draining  # each response is the last one on its connection
    uint8_t (*targets)[TARGET_KEPT]
    PendingSend *pending_sends
    Timers timers
    KeptBytes kept_bytes
    SendQueue send_queue
    uint8_t buffer[DISCARD_MAX]


# ---- opening and closing ------------------------------------------------------------------------------------------

cdef inline int clients_open(Clients *clients, int64_t connections) noexcept nogil:
    """Make tables for `connections`, or for as many as descriptors and address space allow. 0 or -errno."""
    cdef size_t size
    cdef char *memory
    connections = max(min(connections, descriptors_for_connections()), <int64_t>1)
    memory = map_tables(connections)
    while memory == NULL and connections > CONNECTIONS_FEW:
        connections //= 2
        memory = map_tables(connections)
    if memory == NULL:
        return -ENOMEM
    size = <size_t>connections + OTHER_DESCRIPTORS
    clients.table_size = <uint32_t>size
    clients.slot.open_max = <uint64_t>connections
    clients.table = <Connection *>memory
    memory += size * sizeof(Connection)
    clients.pending_sends = <PendingSend *>memory
    memory += size * sizeof(PendingSend)
    clients.timers.nodes = <TimerNode *>memory
    memory += size * sizeof(TimerNode)
    clients.targets = <uint8_t (*)[TARGET_KEPT]>memory
    kept_bytes_open(&clients.kept_bytes, <char (*)[RENDERED_MAX]>(memory + size * TARGET_KEPT))
    return 0


cdef inline char *map_tables(int64_t connections) noexcept nogil:
    """Memory for all tables, or NULL."""
    cdef size_t size = <size_t>connections + OTHER_DESCRIPTORS
    return <char *>map_memory(
        size * (sizeof(Connection) + sizeof(PendingSend) + sizeof(TimerNode) + TARGET_KEPT) + KEPT_MAX * RENDERED_MAX,
        MAP_PRIVATE | MAP_NORESERVE)


cdef inline void client_open(Clients *clients, uint32_t fd) noexcept nogil:
    """Open a new connection. Its request has usually arrived; if the response ends it, it is never added to epoll."""
    cdef Connection *c
    clients.slot.accepted += 1
    if fd >= clients.table_size or clients.slot.open >= clients.slot.open_max and not client_shed(clients):
        close(fd)
        return
    c = &clients.table[fd]
    memset(c, 0, sizeof(Connection))
    clients.slot.open += 1
    client_receive(clients, fd)


cdef inline void client_close(Clients *clients, uint32_t fd) noexcept nogil:
    if clients.timers.nodes[fd].wait == WAIT_SEND:
        pending_send_drop(&clients.pending_sends[fd], &clients.kept_bytes)
    timers_stop(&clients.timers, fd)
    close(fd)
    clients.slot.open -= 1


cdef inline void client_wait(Clients *clients, uint32_t fd, uint8_t wait, uint32_t events) noexcept nogil:
    """Begin to wait. epoll_ctl(2) is called only if the events change."""
    cdef Connection *c = &clients.table[fd]
    cdef bint changes = not c.watched or (events == EPOLLOUT) != (clients.timers.nodes[fd].wait == WAIT_SEND)
    timers_start(&clients.timers, fd, wait, clients.now)
    c.late_in_sending = 0
    if changes:
        if epoll_watch(clients.epoll, EPOLL_CTL_MOD if c.watched else EPOLL_CTL_ADD, fd, events) < 0:
            client_close(clients, fd)
            return
        c.watched = True


# ---- events and deadlines -----------------------------------------------------------------------------------------

cdef inline void client_ready(Clients *clients, uint32_t fd) noexcept nogil:
    cdef uint8_t wait = clients.timers.nodes[fd].wait
    if wait == WAIT_IDLE or wait == WAIT_HEAD:
        client_receive(clients, fd)
    elif wait == WAIT_ANSWER or wait == WAIT_BODY:
        client_receive_body(clients, fd)
    elif wait == WAIT_SEND:
        client_resume(clients, fd)
    elif wait >= WAIT_LINGER:
        client_linger(clients, fd)


cdef inline void clients_end_idle(Clients *clients) noexcept nogil:
    """Respond to requests that have arrived, and end the other idle connections."""
    cdef uint32_t fd = clients.timers.first[WAIT_IDLE]
    cdef uint32_t next
    while fd:
        next = clients.timers.nodes[fd].after
        client_receive(clients, fd)
        if clients.timers.nodes[fd].wait == WAIT_IDLE:
            client_end(clients, fd, WAIT_FAREWELL)
        fd = next


cdef inline bint client_shed(Clients *clients) noexcept nogil:
    """Close one connection to make room for another: a lingering one, else an idle one, else one that receives or
    sends; in each case the one that has waited longest. False if there is none."""
    cdef const uint32_t *first = clients.timers.first
    cdef uint8_t wait
    cdef uint32_t fd = first[WAIT_LINGER]
    for wait in range(WAIT_IDLE, WAIT_LINGER):
        if fd == 0:
            fd = first[wait]
    if fd:
        client_close(clients, fd)
        clients.slot.shed += 1
    return fd != 0


cdef inline void client_expired(Clients *clients, uint32_t fd) noexcept nogil:
    cdef uint8_t wait = clients.timers.nodes[fd].wait
    if wait == WAIT_HEAD or wait == WAIT_BODY:
        client_fail(clients, fd, parser_error_when_slow(&clients.table[fd].parser))
    elif wait == WAIT_ANSWER:
        client_answer_early(clients, fd)
    else:
        client_close(clients, fd)


# ---- receiving ----------------------------------------------------------------------------------------------------

cdef inline void client_receive(Clients *clients, uint32_t fd) noexcept nogil:
    cdef ssize_t size = recv(fd, clients.buffer, RECEIVE_MAX, MSG_DONTWAIT)
    if size > 0:
        client_feed(clients, fd, clients.buffer, clients.buffer + size)
    elif size == 0:
        client_ended(clients, fd)
    elif errno == EAGAIN or errno == EINTR:
        if not clients.table[fd].watched:
            clients.silent += 1
            client_wait(clients, fd, WAIT_IDLE, EPOLLIN)
    else:
        client_close(clients, fd)


cdef inline void client_receive_body(Clients *clients, uint32_t fd) noexcept nogil:
    """Receive the framing of a body, and drop the rest without copying it: on TCP, MSG_TRUNC discards (tcp(7))."""
    cdef Connection *c = &clients.table[fd]
    cdef uint64_t skippable = parser_skippable(&c.parser)
    cdef ssize_t size
    if skippable:
        size = recv(fd, clients.buffer, min(skippable, <uint64_t>DISCARD_MAX), MSG_DONTWAIT | MSG_TRUNC)
    else:
        size = recv(fd, clients.buffer, RECEIVE_MAX, MSG_DONTWAIT)
    if size == 0:
        client_ended(clients, fd)
    elif size < 0:
        if errno != EAGAIN and errno != EINTR:
            client_close(clients, fd)
    elif not timers_progress(&clients.timers, fd, &c.late_in_sending, <size_t>size, SEND_RATE_MIN, clients.now):
        client_fail(clients, fd, ERROR_SLOW_BODY)
    elif skippable:
        parser_skip(&c.parser, <uint64_t>size)
        client_feed(clients, fd, clients.buffer, clients.buffer)
    else:
        client_feed(clients, fd, clients.buffer, clients.buffer + size)


cdef inline void client_ended(Clients *clients, uint32_t fd) noexcept nogil:
    """The client has closed its side; it may still read."""
    cdef int error = parser_error_at_end(&clients.table[fd].parser)
    if error:
        client_fail(clients, fd, error)
    else:
        client_close(clients, fd)


cdef inline void client_fail(Clients *clients, uint32_t fd, int error) noexcept nogil:
    """Respond with an error, if this request has no response yet, and end the connection."""
    cdef Connection *c = &clients.table[fd]
    send_queue_clear(&clients.send_queue)
    client_put_error(clients, c, error)
    c.ends = True
    c.lingers = True
    client_send(clients, fd)


cdef inline void client_feed(Clients *clients, uint32_t fd, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """Respond to each request that is complete within [pos, end)."""
    cdef Connection *c = &clients.table[fd]
    cdef Parser *p = &c.parser
    cdef Target target
    cdef uint64_t lines = 0
    cdef bint full = end - pos == RECEIVE_MAX or c.suspended  # more may be there to be received
    cdef bint responds = False
    cdef bint in_one_segment = False
    cdef Text text
    cdef int outcome
    c.suspended = False
    send_queue_clear(&clients.send_queue)
    target_begin(p, &target)
    while not c.ends:
        if parser_is_new(p):
            in_one_segment = True
        outcome = parser_feed(p, &pos, end, &target)
        if outcome == OUTCOME_TARGET:
            client_route(clients, fd, &target)
            continue
        if outcome == OUTCOME_MORE:
            target_keep(p, &target, clients.targets[fd])
            if parser_asks_for_body(p) and send_queue_reserve(&clients.send_queue, &text):
                text_string(&text, "HTTP/1.1 100 Continue\r\n\r\n")
                send_queue_put_rendered(&clients.send_queue, &text)
                responds = True
            break
        responds = True
        if outcome == OUTCOME_READY:
            if not c.answered:
                if not client_has_room(clients, fd):
                    target_keep(p, &target, clients.targets[fd])
                    send_queue_put_rest(&clients.send_queue, pos, end)
                    c.suspended = True
                    break
                lines += client_respond(clients, fd, &target, in_one_segment)
            c.answered = False
            parser_next(p)
        else:
            c.ends = True
            c.lingers = True
            client_put_error(clients, c, p.error)
    if c.ends and (pos != end or full):
        c.lingers = True
    client_log(clients, lines)
    if responds:
        client_send(clients, fd)
    else:
        client_wait_for_request(clients, fd, False)


cdef inline void client_log(Clients *clients, uint64_t lines) noexcept nogil:
    if lines and clients.log_pages:
        clients.logged += lines
        page_ring_add(&clients.slot.page_ring, clients.ring_oldest, clients.second, lines)


cdef inline void client_answer_early(Clients *clients, uint32_t fd) noexcept nogil:
    """Respond to a request whose body is not complete."""
    cdef Connection *c = &clients.table[fd]
    cdef Target target
    send_queue_clear(&clients.send_queue)
    target_begin(&c.parser, &target)
    client_log(clients, client_respond(clients, fd, &target, False))
    c.answered = True
    client_send(clients, fd)


cdef inline void client_put_error(Clients *clients, const Connection *c, int error) noexcept nogil:
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
    """The target is complete: find its route."""
    cdef Connection *c = &clients.table[fd]
    c.route = <uint8_t>route_for(&c.parser, client_target(clients, fd, target), clients.replica.plain)
    if routes[c.route].flags & READS_ACCEPT:
        parser_read_accept(&c.parser)


cdef inline bint client_respond(Clients *clients, uint32_t fd, const Target *target,
                                bint in_one_segment) noexcept nogil:
    """Respond to the complete request; return whether the log has a line for it."""
    cdef Connection *c = &clients.table[fd]
    cdef Parser *p = &c.parser
    cdef uint8_t route = c.route
    cdef Request request
    cdef int fault
    cdef bint put
    c.count += 1
    client_request(clients, fd, target, &request)
    fault = fault_of(&clients.faults, route, &request)
    if fault or routes[route].kind == RENDERED:
        put = client_render(clients, route, &request, fault)
    else:
        put = send_queue_put(&clients.send_queue, response_of(route, p, request.keep_alive))
        slot_count(clients.slot, route, STATUS_200)
    c.ends = not put or not request.keep_alive
    # A client is not expected to send more if it asked for the end in one segment that ends with its request. If it did
    # not ask, or sent a body or several segments, it may send more: some clients send a CR LF after each body.
    c.lingers = c.ends and (not in_one_segment or parser_keeps_alive(p) or p.flags & (FLAG_LENGTH | FLAG_CODING) != 0)
    return fault == 0 and routes[route].flags & LOGGED != 0


cdef inline void client_request(Clients *clients, uint32_t fd, const Target *target,
                                Request *request) noexcept nogil:
    cdef const Connection *c = &clients.table[fd]
    request.parser = &c.parser
    request.target = client_target(clients, fd, target)
    request.replica = clients.replica
    request.scoreboard = clients.scoreboard
    request.second = clients.second
    request.number = c.count
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


cdef inline bint client_render(Clients *clients, int route, const Request *request, int fault) noexcept nogil:
    """Render a response, or the fault in its place, and queue it; False if there is no room, which must not happen."""
    cdef Text text
    cdef const char *fields
    cdef int code
    if not send_queue_reserve(&clients.send_queue, &text):
        return False
    if fault:
        fields = ""
        if route == ROUTE_WHOAMI:
            fields = ANY_ORIGIN
        code = fault_render(&text, request, fault, fields)
        slot_count(clients.slot, route, class_of(code))
        return send_queue_put_rendered(&clients.send_queue, &text)
    code = route_render(route, &text, request)
    if code == 202 and (route == ROUTE_DISABLE or route == ROUTE_ENABLE):
        slot_ask_ready(clients.slot, route == ROUTE_ENABLE)
        clients.commanded += 1
    slot_count(clients.slot, route, status_counted(route, code))
    return send_queue_put_rendered(&clients.send_queue, &text)


cdef inline void client_wait_for_request(Clients *clients, uint32_t fd, bint answered) noexcept nogil:
    """Wait for the next request or the rest of one. The deadline counts from the start of the wait, not the last
    byte."""
    cdef const Parser *p = &clients.table[fd].parser
    cdef uint8_t wait = WAIT_IDLE
    if parser_has_begun(p):
        wait = WAIT_HEAD if p.state < STATE_BODY else WAIT_BODY
        if p.flags & FLAG_BODY_AWAITED and not clients.table[fd].answered:
            wait = WAIT_ANSWER
    if answered or wait != clients.timers.nodes[fd].wait or not clients.table[fd].watched:
        client_wait(clients, fd, wait, EPOLLIN)


# ---- sending ------------------------------------------------------------------------------------------------------

cdef inline void client_send(Clients *clients, uint32_t fd) noexcept nogil:
    """Send the queue. The rest that the client does not take is saved, and nothing is read from it meanwhile."""
    client_after_send(clients, fd, send_queue_send(&clients.send_queue, clients.responses, fd))


cdef inline void client_after_send(Clients *clients, uint32_t fd, int sent) noexcept nogil:
    if sent == SENT_ALL:
        client_sent(clients, fd)
    elif sent == SENT_FAILED:
        client_close(clients, fd)
    elif not send_queue_save(&clients.send_queue, &clients.pending_sends[fd], &clients.kept_bytes,
                             clients.table[fd].suspended):
        client_close(clients, fd)
    else:
        client_wait(clients, fd, WAIT_SEND, EPOLLOUT)


cdef inline void client_resume(Clients *clients, uint32_t fd) noexcept nogil:
    cdef Connection *c = &clients.table[fd]
    cdef int sent
    send_queue_restore(&clients.send_queue, &clients.pending_sends[fd], &clients.kept_bytes, c.suspended)
    sent = send_queue_send(&clients.send_queue, clients.responses, fd)
    if timers_progress(&clients.timers, fd, &c.late_in_reading, clients.send_queue.sent, READ_RATE_MIN, clients.now):
        client_after_send(clients, fd, sent)
    else:
        client_close(clients, fd)


cdef inline void client_sent(Clients *clients, uint32_t fd) noexcept nogil:
    """All responses are sent: go on, or end."""
    cdef const Connection *c = &clients.table[fd]
    if c.suspended:
        client_feed(clients, fd, clients.send_queue.rest, clients.send_queue.rest + clients.send_queue.rest_length)
    elif not c.ends:
        client_wait_for_request(clients, fd, True)
    elif not c.lingers:
        client_close(clients, fd)
    else:
        client_end(clients, fd, WAIT_LINGER)


cdef inline void client_end(Clients *clients, uint32_t fd, uint8_t wait) noexcept nogil:
    """Half-close. If bytes are unread or on their way, a close would reset the connection, and the client could lose
    the last response (RFC 9112 section 9.6)."""
    if shutdown(fd, SHUT_WR) < 0:
        client_close(clients, fd)
    else:
        client_wait(clients, fd, wait, EPOLLIN)


cdef inline void client_linger(Clients *clients, uint32_t fd) noexcept nogil:
    """Drop what comes while the client sends at the least rate; if the server stops, until the deadline."""
    cdef Connection *c = &clients.table[fd]
    cdef ssize_t size = recv(fd, clients.buffer, DISCARD_MAX, MSG_DONTWAIT | MSG_TRUNC)
    if size < 0 and (errno == EAGAIN or errno == EINTR):
        return
    if size <= 0 or clients.timers.nodes[fd].wait == WAIT_LINGER and not timers_progress(
            &clients.timers, fd, &c.late_in_sending, <size_t>size, SEND_RATE_MIN, clients.now):
        client_close(clients, fd)
