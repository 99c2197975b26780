"""One client: receiving, sending, and its deadlines.

    idle -> head -> body -> (responses are sent) -> idle       the kinds of waiting (worker/timers.pxd)
                                |  one is late: delay -> (it is sent) -> idle
                                |  not all are taken: send -> idle
                                |  after the last one, if more bytes may come: linger -> closed
                                '  after the last one: closed

A response is sent when its request is complete, because proxies and clients that get it earlier stop sending. But a
client may wait for the response before it begins a long body. It then gets the response, and the body is still read:
answer -> body.
"""

from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memset

from ..http.parser cimport (
    ERROR_PROXY_MISSING, ERROR_PROXY_WRONG, ERROR_SLOW_BODY, FLAG_BODY_AWAITED, OUTCOME_MORE, OUTCOME_READY,
    OUTCOME_TARGET, Parser, STATE_BODY, STATE_PATH, STATE_QUERY, STATE_READY, STATE_TARGET_READY, TARGET_KEPT, Target,
    parser_asks_for_body, parser_error_at_end, parser_error_when_slow, parser_feed, parser_has_begun, parser_is_new,
    parser_next, parser_skip, parser_skippable, target_begin, target_keep
)
from ..http.head_record cimport head_record_give_back, head_record_of, head_record_put
from ..http.proxy_header cimport PROXY_HEADER_COMPLETE, PROXY_HEADER_MISSING, PROXY_HEADER_MORE, proxy_header_feed
from ..http.send_queue cimport (
    RECEIVE_MAX, SENT_ALL, SENT_FAILED, pending_send_drop, send_queue_clear, send_queue_put_rendered,
    send_queue_put_rest, send_queue_reserve, send_queue_restore, send_queue_save, send_queue_send
)
from ..os.syscalls cimport (
    EAGAIN, EINTR, EPOLLIN, EPOLLOUT, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, MSG_DONTWAIT, MSG_PEEK, MSG_TRUNC,
    SHUT_WR, close, epoll_watch, errno, recv, shutdown
)
from ..routes.faults cimport Lateness, faults_next_late
from ..text.buffer cimport Text, text_string
from .clients cimport Clients, Connection, DISCARD_MAX
from .delays cimport delays_add, delays_now, delays_of, delays_remove
from .respond cimport client_has_room, client_is_late, client_log, client_put_error, client_respond, client_route
from .timers cimport (
    READ_RATE_MIN, SEND_RATE_MIN, WAIT_ANSWER, WAIT_BODY, WAIT_DELAY, WAIT_FAREWELL, WAIT_HEAD, WAIT_IDLE, WAIT_LINGER,
    WAIT_SEND, timers_progress, timers_start, timers_stop
)


# ---- opening and closing ------------------------------------------------------------------------------------------

cdef inline void client_open(Clients *clients, uint32_t fd) noexcept nogil:
    """Open a new connection. Its request has usually arrived; if the response ends it, it is never added to epoll."""
    cdef Connection *c
    clients.slot.accepted += 1
    if fd >= clients.table_size or clients.slot.open >= clients.slot.open_max and not client_shed(clients):
        close(fd)
        return
    c = &clients.table[fd]
    memset(c, 0, sizeof(Connection))
    c.preface = clients.proxy_protocol
    clients.slot.open += 1
    client_receive(clients, fd)


cdef inline void client_close(Clients *clients, uint32_t fd) noexcept nogil:
    cdef Connection *c = &clients.table[fd]
    cdef uint8_t wait = clients.timers.nodes[fd].wait
    if wait == WAIT_SEND or wait == WAIT_DELAY and c.suspended:
        pending_send_drop(&clients.pending_sends[fd], &clients.kept_bytes)
    if wait == WAIT_DELAY:
        delays_remove(&clients.delays, fd)
    head_record_give_back(&clients.heads, &c.head)
    timers_stop(&clients.timers, fd)
    close(fd)
    clients.slot.open -= 1


cdef inline void client_wait(Clients *clients, uint32_t fd, uint8_t wait, uint32_t events) noexcept nogil:
    """Begin to wait. epoll_ctl(2) is called only if the events change."""
    cdef Connection *c = &clients.table[fd]
    timers_start(&clients.timers, fd, wait, clients.now)
    c.late_in_sending = 0
    if c.events != events:
        if epoll_watch(clients.epoll, EPOLL_CTL_MOD if c.events else EPOLL_CTL_ADD, fd, events) < 0:
            client_close(clients, fd)
            return
        c.events = <uint8_t>events


# ---- events and deadlines -----------------------------------------------------------------------------------------

cdef inline void client_ready(Clients *clients, uint32_t fd) noexcept nogil:
    cdef uint8_t wait = clients.timers.nodes[fd].wait
    if wait == WAIT_IDLE or wait == WAIT_HEAD:
        client_receive(clients, fd)
    elif wait == WAIT_ANSWER or wait == WAIT_BODY:
        client_receive_body(clients, fd)
    elif wait == WAIT_SEND:
        client_resume(clients, fd)
    elif wait == WAIT_DELAY:
        client_stop_watching(clients, fd)
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
    sends, or whose response is late; in each case the one that has waited longest. False if there is none."""
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
        if not clients.table[fd].events:
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
    head_record_give_back(&clients.heads, &c.head)
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
    cdef bint is_late = False
    cdef bint has_room, reads_fields
    cdef const uint8_t *begin
    cdef Lateness lateness
    cdef Text text
    cdef int outcome
    lateness.delay = lateness.burn = 0
    c.suspended = False
    send_queue_clear(&clients.send_queue)
    if c.preface and not client_read_preface(clients, fd, &pos, end):
        return
    target_begin(p, &target)
    while not c.ends:
        if parser_is_new(p):
            in_one_segment = True
        begin = pos
        reads_fields = c.head and STATE_TARGET_READY <= p.state < STATE_BODY
        outcome = parser_feed(p, &pos, end, &target)
        if reads_fields:
            head_record_put(head_record_of(&clients.heads, c.head), begin,
                            pos if p.state < STATE_BODY else target.head_end)
        if outcome == OUTCOME_TARGET:
            client_route(clients, fd, &target)
            continue
        if outcome == OUTCOME_MORE:
            if STATE_PATH <= p.state <= STATE_QUERY and p.target_length > TARGET_KEPT:
                client_route(clients, fd, &target)  # in time to keep the whole target, if it is to be echoed
            target_keep(p, &target, clients.targets[fd])
            if parser_asks_for_body(p) and send_queue_reserve(&clients.send_queue, &text):
                text_string(&text, "HTTP/1.1 100 Continue\r\n\r\n")
                send_queue_put_rendered(&clients.send_queue, &text)
                responds = True
            break
        responds = True
        if outcome == OUTCOME_READY:
            if not c.answered:
                has_room = client_has_room(clients, fd)
                is_late = has_room and client_is_late(clients, fd, &target, pos != end, &lateness)
                if not has_room or is_late:
                    target_keep(p, &target, clients.targets[fd])
                    send_queue_put_rest(&clients.send_queue, pos, end)
                    responds = clients.send_queue.pending.count != 0
                    c.suspended = pos != end or responds
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
    elif is_late:
        client_delay(clients, fd, &lateness)
    else:
        client_wait_for_request(clients, fd, False)


cdef inline bint client_read_preface(Clients *clients, uint32_t fd, const uint8_t **pos,
                                     const uint8_t *end) noexcept nogil:
    """Read the PROXY header; whether it is complete. If not, what is to be done is done."""
    cdef Connection *c = &clients.table[fd]
    cdef int outcome = proxy_header_feed(&clients.sources[fd], clients.targets[fd], &c.preface_length, pos, end)
    if outcome == PROXY_HEADER_COMPLETE:
        c.preface = False
        return True
    if outcome == PROXY_HEADER_MORE:
        client_wait_for_request(clients, fd, False)
    else:
        client_fail(clients, fd, ERROR_PROXY_MISSING if outcome == PROXY_HEADER_MISSING else ERROR_PROXY_WRONG)
    return False


cdef inline void client_answer_early(Clients *clients, uint32_t fd) noexcept nogil:
    """Respond to a request whose body is not complete."""
    cdef Connection *c = &clients.table[fd]
    cdef Target target
    cdef Lateness lateness
    lateness.delay = lateness.burn = 0
    send_queue_clear(&clients.send_queue)
    target_begin(&c.parser, &target)
    if client_is_late(clients, fd, &target, False, &lateness):
        client_delay(clients, fd, &lateness)
        return
    client_log(clients, client_respond(clients, fd, &target, False))
    c.answered = True
    client_send(clients, fd)


cdef inline void client_wait_for_request(Clients *clients, uint32_t fd, bint answered) noexcept nogil:
    """Wait for the next request or the rest of one. The deadline counts from the start of the wait, not the last
    byte."""
    cdef const Parser *p = &clients.table[fd].parser
    cdef uint8_t wait = WAIT_IDLE
    if parser_has_begun(p):
        wait = WAIT_HEAD if p.state < STATE_BODY else WAIT_BODY
        if p.flags & FLAG_BODY_AWAITED and not clients.table[fd].answered:
            wait = WAIT_ANSWER
    elif clients.table[fd].preface and clients.table[fd].preface_length:
        wait = WAIT_HEAD
    if answered or wait != clients.timers.nodes[fd].wait or clients.table[fd].events != EPOLLIN:
        client_wait(clients, fd, wait, EPOLLIN)


# ---- late responses -----------------------------------------------------------------------------------------------

cdef inline void client_delay(Clients *clients, uint32_t fd, const Lateness *lateness) noexcept nogil:
    """Wait until the response is due. epoll goes on to watch the connection, if it does, until that is in the way."""
    cdef Connection *c = &clients.table[fd]
    if c.suspended:
        send_queue_save(&clients.send_queue, &clients.pending_sends[fd], &clients.kept_bytes, True)
    faults_next_late(&clients.faults)
    timers_start(&clients.timers, fd, WAIT_DELAY, clients.now)
    delays_add(&clients.delays, fd, <uint32_t>lateness.delay, <uint32_t>lateness.burn)


cdef inline void client_stop_watching(Clients *clients, uint32_t fd) noexcept nogil:
    """The client sends more while its response is delayed, or has closed its side, or is gone."""
    if recv(fd, clients.buffer, 1, MSG_DONTWAIT | MSG_PEEK) < 0 and errno != EAGAIN and errno != EINTR:
        client_close(clients, fd)
    else:
        epoll_watch(clients.epoll, EPOLL_CTL_DEL, fd, 0)
        clients.table[fd].events = 0


cdef inline void client_end_delay(Clients *clients, uint32_t fd) noexcept nogil:
    """The response is due now."""
    cdef Connection *c = &clients.table[fd]
    clients.took = delays_now() - delays_of(&clients.delays, fd).begun
    delays_remove(&clients.delays, fd)
    timers_stop(&clients.timers, fd)
    c.late = True
    if c.parser.state < STATE_READY:
        client_answer_early(clients, fd)
    elif c.suspended:
        send_queue_restore(&clients.send_queue, &clients.pending_sends[fd], &clients.kept_bytes)
        client_feed(clients, fd, clients.send_queue.rest, clients.send_queue.rest + clients.send_queue.rest_length)
    else:
        client_feed(clients, fd, clients.buffer, clients.buffer)


cdef inline void clients_end_delays(Clients *clients) noexcept nogil:
    """Send all responses that are delayed."""
    clients.ending = True
    while clients.timers.first[WAIT_DELAY]:
        client_end_delay(clients, clients.timers.first[WAIT_DELAY])


# ---- sending ------------------------------------------------------------------------------------------------------

cdef inline void client_send(Clients *clients, uint32_t fd) noexcept nogil:
    """Send the queue. The rest that the client does not take is saved, and nothing is read from it meanwhile."""
    client_after_send(clients, fd, send_queue_send(&clients.send_queue, clients.responses, fd))


cdef inline void client_after_send(Clients *clients, uint32_t fd, int sent) noexcept nogil:
    if sent == SENT_ALL:
        client_sent(clients, fd)
    elif sent == SENT_FAILED:
        client_close(clients, fd)
    elif not client_save(clients, fd):
        client_close(clients, fd)
    else:
        client_wait(clients, fd, WAIT_SEND, EPOLLOUT)


cdef inline bint client_save(Clients *clients, uint32_t fd) noexcept nogil:
    """Save the queue; if there is no room left, at the expense of the client that has read nothing for the longest
    time. False if that does not help."""
    cdef uint32_t slowest
    while not send_queue_save(&clients.send_queue, &clients.pending_sends[fd], &clients.kept_bytes,
                              clients.table[fd].suspended):
        slowest = clients.timers.first[WAIT_SEND]
        if slowest == 0 or slowest == fd:
            return False
        client_close(clients, slowest)
        clients.slot.shed += 1
    return True


cdef inline void client_resume(Clients *clients, uint32_t fd) noexcept nogil:
    cdef Connection *c = &clients.table[fd]
    cdef int sent
    send_queue_restore(&clients.send_queue, &clients.pending_sends[fd], &clients.kept_bytes)
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
