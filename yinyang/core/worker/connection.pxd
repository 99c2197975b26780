"""One client: what was read of its request, what is still to be sent to it, and when it has waited long enough.

A connection is a Connection and a Link in tables that the descriptor indexes; they are pages of zeros until touched.
Three more tables take what only some need: the beginning of a target whose request is incomplete, the Rest that a
slow reader has not taken, the rendered answer among it. Nothing is allocated, and nothing grows with what a client
sends.

    idle -> head -> body -> (answers are sent) -> idle        what it waits for (worker/timers.pxd)
                                |  not all are taken: send -> idle
                                |  the last one, and more may come: linger -> closed
                                '  the last one: closed
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memset

from ..http.parser cimport (
    FLAG_BODY_LEFT, OUTCOME_MORE, OUTCOME_READY, OUTCOME_TARGET, Parser, STATE_BODY, TARGET_KEPT, Target,
    parser_error_at_end, parser_error_when_slow, parser_feed, parser_has_begun, parser_is_new, parser_keeps_alive,
    parser_next, parser_read_accept, parser_skip, parser_skippable, target_begin, target_keep
)
from ..http.request_cache cimport RequestCache, request_cache_matches, request_cache_store
from ..http.responses cimport (
    RESPONSE_METRICS, RESPONSE_REDIRECT, RESPONSE_UNREADY, RESPONSE_WHOAMI, Responses, response_ends_connection,
    response_for, response_for_error, response_is_dynamic, response_is_page
)
from ..http.send_queue cimport (
    DYNAMIC_MAX, PendingSend, RECEIVE_MAX, SENT_ALL, SENT_FAILED, SendQueue, send_queue_clear, send_queue_put,
    send_queue_put_dynamic, send_queue_reserve, send_queue_restore, send_queue_save, send_queue_send
)
from ..os.syscalls cimport (
    EAGAIN, EINTR, ENOMEM, EPOLLIN, EPOLLOUT, EPOLL_CTL_ADD, EPOLL_CTL_MOD, MAP_NORESERVE, MAP_PRIVATE,
    MSG_DONTWAIT, MSG_TRUNC, RLIMIT_NOFILE, SHUT_WR, close, epoll_watch, errno, getrlimit, map_memory, recv, rlimit,
    shutdown
)
from ..routes.metrics cimport metrics_render
from ..routes.readyz cimport readiness_render
from ..routes.redirect cimport redirect_render
from ..routes.whoami cimport whoami_keeps, whoami_render
from ..shared.page_ring cimport page_ring_add
from ..shared.scoreboard cimport Scoreboard, WorkerSlot
from ..text.buffer cimport Text
from .timers cimport (
    TimerNode, Timers, WAIT_BODY, WAIT_FAREWELL, WAIT_HEAD, WAIT_IDLE, WAIT_LINGER, WAIT_SEND, timers_start,
    timers_stop
)

cdef enum:
    CONNECTIONS_MAX = 1 << 20
    DISCARD_MAX = 64 * 1024  # bytes of a body dropped at once
    LINGER_MAX = 256 * 1024  # bytes that a client may still send after its last answer

cdef struct Connection:
    Parser framing
    uint32_t count  # of requests that were answered; once it lingers, of bytes that were dropped
    uint8_t ends  # after what is unsent
    uint8_t lingers  # then, as the client may be still sending
    uint8_t watched  # by epoll

cdef struct Clients:  # what is large comes last, so that the code reaches the rest with short offsets
    Connection *table
    Responses *responses
    const Scoreboard *scoreboard
    WorkerSlot *slot
    int64_t now  # ms, as of this wake-up
    int64_t second  # of the wall clock, likewise
    uint32_t table_size  # descriptors from this on are refused
    int epoll
    bint log_pages  # is each page to be logged?
    bint draining  # every answer is the last one on its connection
    uint8_t (*targets)[TARGET_KEPT]
    PendingSend *pending_sends
    char (*rendered)[DYNAMIC_MAX]  # an answer that a slow reader has not taken wholly
    Timers timers
    RequestCache request_cache
    SendQueue send_queue
    uint8_t buffer[DISCARD_MAX]


# ---- birth and death ----------------------------------------------------------------------------------------------

cdef inline int clients_open(Clients *clients) noexcept nogil:
    """Tables for as many descriptors as this process may have. 0 or -errno; a worker that fails ends."""
    cdef rlimit limit
    cdef size_t size = CONNECTIONS_MAX
    cdef char *memory
    if getrlimit(RLIMIT_NOFILE, &limit) == 0 and limit.rlim_cur < size:
        size = limit.rlim_cur
    memory = <char *>map_memory(
        size * (sizeof(Connection) + sizeof(TimerNode) + TARGET_KEPT + sizeof(PendingSend) + DYNAMIC_MAX),
        MAP_PRIVATE | MAP_NORESERVE)
    if memory == NULL:
        return -ENOMEM
    clients.table_size = <uint32_t>size
    clients.table = <Connection *>memory
    memory += size * sizeof(Connection)
    clients.pending_sends = <PendingSend *>memory
    memory += size * sizeof(PendingSend)
    clients.timers.nodes = <TimerNode *>memory
    memory += size * sizeof(TimerNode)
    clients.targets = <uint8_t (*)[TARGET_KEPT]>memory
    clients.rendered = <char (*)[DYNAMIC_MAX]>(memory + size * TARGET_KEPT)
    return 0


cdef inline void client_open(Clients *clients, uint32_t fd) noexcept nogil:
    """A new connection. Its request is most often there already; if the answer ends it, epoll never hears of it."""
    cdef Connection *c
    clients.slot.accepted += 1
    if fd >= clients.table_size:
        close(fd)
        return
    c = &clients.table[fd]
    memset(c, 0, sizeof(Connection))
    clients.slot.open += 1
    client_receive(clients, fd)


cdef inline void client_close(Clients *clients, uint32_t fd) noexcept nogil:
    timers_stop(&clients.timers, fd)
    close(fd)
    clients.slot.open -= 1


cdef inline void client_wait(Clients *clients, uint32_t fd, uint8_t wait, uint32_t events) noexcept nogil:
    """Begin to wait for something; epoll_ctl(2) only when what it watches for changes."""
    cdef Connection *c = &clients.table[fd]
    cdef bint changes = not c.watched or (events == EPOLLOUT) != (clients.timers.nodes[fd].wait == WAIT_SEND)
    timers_start(&clients.timers, fd, wait, clients.now)
    if changes:
        if epoll_watch(clients.epoll, EPOLL_CTL_MOD if c.watched else EPOLL_CTL_ADD, fd, events) < 0:
            client_close(clients, fd)
            return
        c.watched = True


# ---- what epoll tells, and what the clock tells -------------------------------------------------------------------

cdef inline void client_ready(Clients *clients, uint32_t fd) noexcept nogil:
    cdef uint8_t wait = clients.timers.nodes[fd].wait
    if wait == WAIT_IDLE or wait == WAIT_HEAD:
        client_receive(clients, fd)
    elif wait == WAIT_BODY:
        if parser_skippable(&clients.table[fd].framing):
            client_skip(clients, fd)
        else:
            client_receive(clients, fd)
    elif wait == WAIT_SEND:
        client_resume(clients, fd)
    elif wait >= WAIT_LINGER:
        client_linger(clients, fd)


cdef inline void clients_end_idle(Clients *clients) noexcept nogil:
    """A request that is there already is answered; who has none is told that none will be."""
    cdef uint32_t fd = clients.timers.first[WAIT_IDLE]
    cdef uint32_t next
    while fd:
        next = clients.timers.nodes[fd].after
        client_receive(clients, fd)
        if clients.timers.nodes[fd].wait == WAIT_IDLE:
            client_end(clients, fd, WAIT_FAREWELL)
        fd = next


cdef inline bint client_shed(Clients *clients) noexcept nogil:
    """Close one connection, as descriptors or memory are short: who has its answer and lingers, else who is idle, else
    who takes longest over what it began; of those, who has waited longest. False if there is none."""
    cdef const uint32_t *first = clients.timers.first
    cdef uint8_t wait
    cdef uint32_t fd = first[WAIT_LINGER]
    for wait in range(WAIT_IDLE, WAIT_LINGER):
        if fd == 0:
            fd = first[wait]
    if fd:
        client_close(clients, fd)
    return fd != 0


cdef inline void client_expired(Clients *clients, uint32_t fd) noexcept nogil:
    cdef uint8_t wait = clients.timers.nodes[fd].wait
    if wait == WAIT_HEAD or wait == WAIT_BODY:
        client_fail(clients, fd, parser_error_when_slow(&clients.table[fd].framing))
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
            client_wait(clients, fd, WAIT_IDLE, EPOLLIN)
    else:
        client_close(clients, fd)


cdef inline void client_skip(Clients *clients, uint32_t fd) noexcept nogil:
    """Drop bytes of a body without copying them here: on TCP, MSG_TRUNC discards (tcp(7))."""
    cdef Parser *f = &clients.table[fd].framing
    cdef uint64_t size_max = min(parser_skippable(f), <uint64_t>DISCARD_MAX)
    cdef ssize_t size = recv(fd, clients.buffer, size_max, MSG_DONTWAIT | MSG_TRUNC)
    if size > 0:
        parser_skip(f, <uint64_t>size)
        client_feed(clients, fd, clients.buffer, clients.buffer)
    elif size == 0:
        client_ended(clients, fd)
    elif errno != EAGAIN and errno != EINTR:
        client_close(clients, fd)


cdef inline void client_ended(Clients *clients, uint32_t fd) noexcept nogil:
    """The client will send no more; it may still read."""
    cdef int error = parser_error_at_end(&clients.table[fd].framing)
    if error:
        client_fail(clients, fd, error)
    else:
        client_close(clients, fd)


cdef inline void client_fail(Clients *clients, uint32_t fd, int error) noexcept nogil:
    """Answer what is wrong, and nothing after it."""
    cdef Connection *c = &clients.table[fd]
    send_queue_clear(&clients.send_queue)
    client_put_error(clients, &c.framing, error)
    c.ends = True
    c.lingers = True
    client_send(clients, fd)


cdef inline void client_feed(Clients *clients, uint32_t fd, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """Answer every request that is complete within [pos, end)."""
    cdef Connection *c = &clients.table[fd]
    cdef Parser *f = &c.framing
    cdef Target target
    cdef uint64_t pages = 0
    cdef bint full = end - pos == RECEIVE_MAX
    cdef bint answered = False
    cdef const uint8_t *begin = NULL
    cdef int outcome
    send_queue_clear(&clients.send_queue)
    target_begin(f, &target)
    while not c.ends:
        if parser_is_new(f):
            if request_cache_matches(&clients.request_cache, pos, end):
                pos += clients.request_cache.length
                client_respond_cached(clients, c)
                pages += 1
                answered = True
                continue
            begin = pos
        outcome = parser_feed(f, &pos, end, &target)
        if outcome == OUTCOME_TARGET:
            parser_read_accept(f)
            continue
        if outcome == OUTCOME_MORE:
            target_keep(f, &target, clients.targets[fd])
            break
        answered = True
        if outcome == OUTCOME_READY:
            pages += client_respond(clients, fd, &target, begin, pos)
        else:
            c.ends = True
            c.lingers = True
            client_put_error(clients, f, f.error)
    if c.ends and (pos != end or full):
        c.lingers = True
    client_served(clients, pages)
    if answered:
        client_send(clients, fd)
    else:
        client_wait_for_request(clients, fd, False)


cdef inline void client_served(Clients *clients, uint64_t pages) noexcept nogil:
    if pages:
        clients.slot.pages += pages
        if clients.log_pages:
            page_ring_add(&clients.slot.page_ring, clients.second, pages)


cdef inline void client_put_error(Clients *clients, const Parser *f, int error) noexcept nogil:
    cdef uint8_t response = response_for_error(f, error)
    clients.slot.answered[response] += 1
    send_queue_put(&clients.send_queue, response)


cdef inline void client_respond_cached(Clients *clients, Connection *c) noexcept nogil:
    """Put the same page as before into the queue."""
    c.count += 1
    c.ends = not send_queue_put(&clients.send_queue, clients.request_cache.response) or clients.request_cache.ends


cdef inline bint client_respond(Clients *clients, uint32_t fd, const Target *target, const uint8_t *begin,
                                const uint8_t *end) noexcept nogil:
    """Put the answer to the request that is framed into the queue. Is it a page? `begin` is NULL if the request began
    before the segment at hand; it ends before `end`."""
    cdef Connection *c = &clients.table[fd]
    cdef Parser *f = &c.framing
    cdef const uint8_t *bytes = target.bytes
    cdef bint keep_alive = parser_keeps_alive(f) and not clients.draining
    cdef bint put
    cdef uint8_t response
    c.count += 1
    if target.bytes == NULL or target.offset:
        target_keep(f, target, clients.targets[fd])
        bytes = clients.targets[fd]
    response = response_for(clients.responses, f, bytes, keep_alive)
    if response_is_dynamic(response):
        keep_alive = keep_alive and (response != RESPONSE_WHOAMI or whoami_keeps(f, bytes))
        put = client_render(clients, fd, response, bytes, keep_alive)
    else:
        put = send_queue_put(&clients.send_queue, response)
        if not response_is_page(response):
            clients.slot.answered[response] += 1
            keep_alive = keep_alive and not response_ends_connection(response)
    c.ends = not put or not keep_alive
    # who did not ask for the end may have sent more meanwhile
    c.lingers = f.flags & FLAG_BODY_LEFT != 0 or c.ends and parser_keeps_alive(f)
    if response_is_page(response) and begin != NULL and not c.lingers and not clients.draining:
        request_cache_store(&clients.request_cache, begin, end, response, c.ends)
    parser_next(f)
    return response_is_page(response)


cdef inline bint client_render(Clients *clients, uint32_t fd, uint8_t response, const uint8_t *target,
                               bint keep_alive) noexcept nogil:
    """Put an answer that is not prebuilt into the queue; False if there is no room, as the client takes none."""
    cdef const Connection *c = &clients.table[fd]
    cdef const Parser *f = &c.framing
    cdef Text text
    if not send_queue_reserve(&clients.send_queue, &text):
        send_queue_send(&clients.send_queue, clients.responses, fd)  # if it fails, that shows when all is sent
        if not send_queue_reserve(&clients.send_queue, &text):
            return False
    if response == RESPONSE_REDIRECT:
        redirect_render(&text, f, target, keep_alive, clients.second)
    elif response == RESPONSE_WHOAMI:
        whoami_render(&text, f, target, keep_alive, clients.second, clients.responses.replica, clients.scoreboard,
                      c.count)
    elif response == RESPONSE_METRICS:
        metrics_render(&text, f, keep_alive, clients.second, clients.responses.replica, clients.scoreboard)
    elif not readiness_render(&text, f, keep_alive, clients.second, clients.scoreboard):
        response = RESPONSE_UNREADY
    clients.slot.answered[response] += 1
    return send_queue_put_dynamic(&clients.send_queue, response, &text)


cdef inline void client_wait_for_request(Clients *clients, uint32_t fd, bint answered) noexcept nogil:
    """All is answered. A deadline runs from when the wait began, not from the last byte."""
    cdef const Parser *f = &clients.table[fd].framing
    cdef uint8_t wait = WAIT_IDLE
    if parser_has_begun(f):
        wait = WAIT_HEAD if f.state < STATE_BODY else WAIT_BODY
    if answered or wait != clients.timers.nodes[fd].wait or not clients.table[fd].watched:
        client_wait(clients, fd, wait, EPOLLIN)


# ---- sending ------------------------------------------------------------------------------------------------------

cdef inline void client_send(Clients *clients, uint32_t fd) noexcept nogil:
    """Send what is in the queue. What the client does not take is put away, and nothing more is read from it."""
    cdef int sent = send_queue_send(&clients.send_queue, clients.responses, fd)
    if sent == SENT_ALL:
        client_sent(clients, fd)
    elif sent == SENT_FAILED:
        client_close(clients, fd)
    else:
        if not send_queue_save(&clients.send_queue, &clients.pending_sends[fd], clients.rendered[fd]):
            clients.table[fd].ends = True
            clients.table[fd].lingers = True
        client_wait(clients, fd, WAIT_SEND, EPOLLOUT)


cdef inline void client_resume(Clients *clients, uint32_t fd) noexcept nogil:
    send_queue_restore(&clients.send_queue, &clients.pending_sends[fd], clients.rendered[fd])
    client_send(clients, fd)


cdef inline void client_sent(Clients *clients, uint32_t fd) noexcept nogil:
    """All is sent: go on, or end."""
    cdef const Connection *c = &clients.table[fd]
    if not c.ends:
        client_wait_for_request(clients, fd, True)
    elif not c.lingers:
        client_close(clients, fd)
    else:
        client_end(clients, fd, WAIT_LINGER)


cdef inline void client_end(Clients *clients, uint32_t fd, uint8_t wait) noexcept nogil:
    """Close, but not with bytes unread or on their way: that would reset the connection and could take the last answer
    with it (RFC 9112 section 9.6)."""
    clients.table[fd].count = 0
    if shutdown(fd, SHUT_WR) < 0:
        client_close(clients, fd)
    else:
        client_wait(clients, fd, wait, EPOLLIN)


cdef inline void client_linger(Clients *clients, uint32_t fd) noexcept nogil:
    cdef Connection *c = &clients.table[fd]
    cdef ssize_t size = recv(fd, clients.buffer, DISCARD_MAX, MSG_DONTWAIT | MSG_TRUNC)
    if size < 0 and (errno == EAGAIN or errno == EINTR):
        return
    if size > 0:
        c.count += <uint32_t>size
    if size <= 0 or c.count > LINGER_MAX:
        client_close(clients, fd)
