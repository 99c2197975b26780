"""One client: what was read of its request, what is still to be sent to it, and when it has waited long enough.

A connection is a Connection and a Link in tables that the descriptor indexes; they are pages of zeros until touched.
Three more tables take what only some need: the beginning of a target whose request is incomplete, the Rest that a
slow reader has not taken, the rendered answer among it. Nothing is allocated, and nothing grows with what a client
sends.

    idle -> head -> body -> (answers are sent) -> idle        what it waits for (waits.pxd)
                                |  not all are taken: send -> idle
                                |  the last one, and more may come: linger -> closed
                                '  the last one: closed
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from .again cimport Again, again_is, again_remember
from .answers cimport (
    ANSWER_METRICS, ANSWER_REDIRECT, ANSWER_UNREADY, ANSWER_WHOAMI, Answers, answer_for, answer_for_wrong,
    answer_ends, answer_is_page, answer_is_rendered
)
from .board cimport Board, Seat
from .http1 cimport (
    Framing, OUTCOME_MORE, OUTCOME_READY, SEEN_BODY_LEFT, STATE_BODY, STATE_START, TARGET_KEPT, Target, http1_begun,
    http1_cut_off, http1_feed, http1_keeps, http1_next, http1_skip, http1_skippable, http1_too_slow, target_keep
)
from .journal cimport journal_add
from .metrics cimport metrics_render
from .queue cimport (
    Queue, RECEIVE_MOST, RENDERED_MOST, Rest, SENT_ALL, SENT_FAILED, queue_clear, queue_place, queue_put,
    queue_put_away, queue_put_rendered, queue_send, queue_take_back
)
from .readiness cimport readiness_render
from .redirect cimport redirect_render
from .system cimport (
    EAGAIN, EINTR, ENOMEM, EPOLLIN, EPOLLOUT, EPOLL_CTL_ADD, EPOLL_CTL_MOD, MAP_NORESERVE, MAP_PRIVATE,
    MSG_DONTWAIT, MSG_TRUNC, RLIMIT_NOFILE, SHUT_WR, close, epoll_watch, errno, getrlimit, map_memory, recv,
    rlimit, shutdown
)
from .text cimport Text
from .waits cimport (
    Link, WAIT_BODY, WAIT_FAREWELL, WAIT_HEAD, WAIT_IDLE, WAIT_LINGER, WAIT_SEND, Waits, waits_put, waits_remove
)
from .whoami cimport whoami_keeps, whoami_render

cdef enum:
    DESCRIPTORS_MOST = 1 << 20
    DISCARD_MOST = 64 * 1024  # bytes of a body dropped at once
    LINGER_MOST = 256 * 1024  # bytes that a client may still send after its last answer

cdef struct Connection:
    Framing framing
    uint32_t count  # of requests that were answered; once it lingers, of bytes that were dropped
    uint8_t ends  # after what is unsent
    uint8_t lingers  # then, as the client may be still sending
    uint8_t watched  # by epoll

cdef struct Clients:  # what is large comes last, so that the code reaches the rest with short offsets
    Connection *table
    Answers *answers
    const Board *board
    Seat *seat
    int64_t now  # ms, as of this wake-up
    int64_t second  # of the wall clock, likewise
    uint32_t table_size  # descriptors from this on are refused
    int epoll
    bint journal  # is each page to be logged?
    bint draining  # every answer is the last one on its connection
    uint8_t (*targets)[TARGET_KEPT]
    Rest *rests
    char (*rendered)[RENDERED_MOST]  # an answer that a slow reader has not taken wholly
    Waits waits
    Again again
    Queue queue
    uint8_t buffer[DISCARD_MOST]


# ---- birth and death ----------------------------------------------------------------------------------------------

cdef inline int clients_open(Clients *clients) noexcept nogil:
    """Tables for as many descriptors as this process may have. 0 or -errno; a worker that fails ends."""
    cdef rlimit limit
    cdef size_t size = DESCRIPTORS_MOST
    cdef char *memory
    if getrlimit(RLIMIT_NOFILE, &limit) == 0 and limit.rlim_cur < size:
        size = limit.rlim_cur
    memory = <char *>map_memory(
        size * (sizeof(Connection) + sizeof(Link) + TARGET_KEPT + sizeof(Rest) + RENDERED_MOST),
        MAP_PRIVATE | MAP_NORESERVE)
    if memory == NULL:
        return -ENOMEM
    clients.table_size = <uint32_t>size
    clients.table = <Connection *>memory
    memory += size * sizeof(Connection)
    clients.rests = <Rest *>memory
    memory += size * sizeof(Rest)
    clients.waits.links = <Link *>memory
    memory += size * sizeof(Link)
    clients.targets = <uint8_t (*)[TARGET_KEPT]>memory
    clients.rendered = <char (*)[RENDERED_MOST]>(memory + size * TARGET_KEPT)
    return 0


cdef inline void client_open(Clients *clients, uint32_t fd) noexcept nogil:
    """A new connection. Its request is most often there already; if the answer ends it, epoll never hears of it."""
    cdef Connection *c
    clients.seat.accepted += 1
    if fd >= clients.table_size:
        close(fd)
        return
    c = &clients.table[fd]
    memset(c, 0, sizeof(Connection))
    clients.seat.open += 1
    client_receive(clients, fd)


cdef inline void client_close(Clients *clients, uint32_t fd) noexcept nogil:
    waits_remove(&clients.waits, fd)
    close(fd)
    clients.seat.open -= 1


cdef inline void client_wait(Clients *clients, uint32_t fd, uint8_t wait, uint32_t events) noexcept nogil:
    """Begin to wait for something; epoll_ctl(2) only when what it watches for changes."""
    cdef Connection *c = &clients.table[fd]
    cdef bint changes = not c.watched or (events == EPOLLOUT) != (clients.waits.links[fd].wait == WAIT_SEND)
    waits_put(&clients.waits, fd, wait, clients.now)
    if changes:
        if epoll_watch(clients.epoll, EPOLL_CTL_MOD if c.watched else EPOLL_CTL_ADD, fd, events) < 0:
            client_close(clients, fd)
            return
        c.watched = True


# ---- what epoll tells, and what the clock tells -------------------------------------------------------------------

cdef inline void client_ready(Clients *clients, uint32_t fd) noexcept nogil:
    cdef uint8_t wait = clients.waits.links[fd].wait
    if wait == WAIT_IDLE or wait == WAIT_HEAD:
        client_receive(clients, fd)
    elif wait == WAIT_BODY:
        if http1_skippable(&clients.table[fd].framing):
            client_skip(clients, fd)
        else:
            client_receive(clients, fd)
    elif wait == WAIT_SEND:
        client_resume(clients, fd)
    elif wait >= WAIT_LINGER:
        client_linger(clients, fd)


cdef inline void clients_end_idle(Clients *clients) noexcept nogil:
    """A request that is there already is answered; who has none is told that none will be."""
    cdef uint32_t fd = clients.waits.first[WAIT_IDLE]
    cdef uint32_t next
    while fd:
        next = clients.waits.links[fd].after
        client_receive(clients, fd)
        if clients.waits.links[fd].wait == WAIT_IDLE:
            client_end(clients, fd, WAIT_FAREWELL)
        fd = next


cdef inline bint client_shed(Clients *clients) noexcept nogil:
    """Close one connection, as descriptors or memory are short: who has its answer and lingers, else who is idle, else
    who takes longest over what it began; of those, who has waited longest. False if there is none."""
    cdef const uint32_t *first = clients.waits.first
    cdef uint8_t wait
    cdef uint32_t fd = first[WAIT_LINGER]
    for wait in range(WAIT_IDLE, WAIT_LINGER):
        if fd == 0:
            fd = first[wait]
    if fd:
        client_close(clients, fd)
    return fd != 0


cdef inline void client_expired(Clients *clients, uint32_t fd) noexcept nogil:
    cdef uint8_t wait = clients.waits.links[fd].wait
    if wait == WAIT_HEAD or wait == WAIT_BODY:
        client_refuse(clients, fd, http1_too_slow(&clients.table[fd].framing))
    else:
        client_close(clients, fd)


# ---- receiving ----------------------------------------------------------------------------------------------------

cdef inline void client_receive(Clients *clients, uint32_t fd) noexcept nogil:
    cdef ssize_t size = recv(fd, clients.buffer, RECEIVE_MOST, MSG_DONTWAIT)
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
    cdef Framing *f = &clients.table[fd].framing
    cdef uint64_t most = min(http1_skippable(f), <uint64_t>DISCARD_MOST)
    cdef ssize_t size = recv(fd, clients.buffer, most, MSG_DONTWAIT | MSG_TRUNC)
    if size > 0:
        http1_skip(f, <uint64_t>size)
        client_feed(clients, fd, clients.buffer, clients.buffer)
    elif size == 0:
        client_ended(clients, fd)
    elif errno != EAGAIN and errno != EINTR:
        client_close(clients, fd)


cdef inline void client_ended(Clients *clients, uint32_t fd) noexcept nogil:
    """The client will send no more; it may still read."""
    cdef int wrong = http1_cut_off(&clients.table[fd].framing)
    if wrong:
        client_refuse(clients, fd, wrong)
    else:
        client_close(clients, fd)


cdef inline void client_refuse(Clients *clients, uint32_t fd, int wrong) noexcept nogil:
    """Answer what is wrong, and nothing after it."""
    cdef Connection *c = &clients.table[fd]
    queue_clear(&clients.queue)
    client_put_wrong(clients, &c.framing, wrong)
    c.ends = True
    c.lingers = True
    client_send(clients, fd)


cdef inline void client_feed(Clients *clients, uint32_t fd, const uint8_t *at, const uint8_t *end) noexcept nogil:
    """Answer every request that is complete within [at, end)."""
    cdef Connection *c = &clients.table[fd]
    cdef Framing *f = &c.framing
    cdef Target target
    cdef uint64_t pages = 0
    cdef bint full = end - at == RECEIVE_MOST
    cdef bint answered = False
    cdef bint whole
    cdef const uint8_t *begin
    cdef int outcome
    queue_clear(&clients.queue)
    while not c.ends:
        whole = f.state == STATE_START and f.size == 0
        if whole and again_is(&clients.again, at, end):
            at += clients.again.length
            client_answer_again(clients, c)
            pages += 1
            answered = True
            continue
        begin = at
        outcome = http1_feed(f, &at, end, &target)
        if outcome == OUTCOME_MORE:
            if f.target:
                target_keep(f, &target, clients.targets[fd])
            break
        answered = True
        if outcome == OUTCOME_READY:
            pages += client_answer(clients, fd, &target, begin if whole else NULL, at)
        else:
            c.ends = True
            c.lingers = True
            client_put_wrong(clients, f, f.wrong)
    if c.ends and (at != end or full):
        c.lingers = True
    client_served(clients, pages)
    if answered:
        client_send(clients, fd)
    else:
        client_wait_for_request(clients, fd, False)


cdef inline void client_served(Clients *clients, uint64_t pages) noexcept nogil:
    if pages:
        clients.seat.pages += pages
        if clients.journal:
            journal_add(&clients.seat.journal, clients.second, pages)


cdef inline void client_put_wrong(Clients *clients, const Framing *f, int wrong) noexcept nogil:
    cdef uint8_t answer = answer_for_wrong(f, wrong)
    clients.seat.answered[answer] += 1
    queue_put(&clients.queue, answer)


cdef inline void client_answer_again(Clients *clients, Connection *c) noexcept nogil:
    """Put the same page as before into the queue."""
    c.count += 1
    c.ends = not queue_put(&clients.queue, clients.again.answer) or clients.again.ends


cdef inline bint client_answer(Clients *clients, uint32_t fd, const Target *target, const uint8_t *begin,
                               const uint8_t *end) noexcept nogil:
    """Put the answer to the request that is framed into the queue. Is it a page? `begin` is NULL if the request began
    before the segment at hand; it ends before `end`."""
    cdef Connection *c = &clients.table[fd]
    cdef Framing *f = &c.framing
    cdef const uint8_t *bytes = target.part
    cdef bint keep = http1_keeps(f) and not clients.draining
    cdef bint put
    cdef uint8_t answer
    c.count += 1
    if target.offset:
        target_keep(f, target, clients.targets[fd])
        bytes = clients.targets[fd]
    answer = answer_for(clients.answers, f, bytes, keep)
    if answer_is_rendered(answer):
        keep = keep and (answer != ANSWER_WHOAMI or whoami_keeps(f, bytes))
        put = client_render(clients, fd, answer, bytes, keep)
    else:
        put = queue_put(&clients.queue, answer)
        if not answer_is_page(answer):
            clients.seat.answered[answer] += 1
            keep = keep and not answer_ends(answer)
    c.ends = not put or not keep
    # who did not ask for the end may have sent more meanwhile
    c.lingers = f.seen & SEEN_BODY_LEFT != 0 or c.ends and http1_keeps(f)
    if answer_is_page(answer) and begin != NULL and not c.lingers and not clients.draining:
        again_remember(&clients.again, begin, end, answer, c.ends)
    http1_next(f)
    return answer_is_page(answer)


cdef inline bint client_render(Clients *clients, uint32_t fd, uint8_t answer, const uint8_t *target,
                               bint keep) noexcept nogil:
    """Put an answer that is not prebuilt into the queue; False if there is no room, as the client takes none."""
    cdef const Connection *c = &clients.table[fd]
    cdef const Framing *f = &c.framing
    cdef Text text
    if not queue_place(&clients.queue, &text):
        queue_send(&clients.queue, clients.answers, fd)  # if it fails, that shows when all is sent
        if not queue_place(&clients.queue, &text):
            return False
    if answer == ANSWER_REDIRECT:
        redirect_render(&text, f, target, keep, clients.second)
    elif answer == ANSWER_WHOAMI:
        whoami_render(&text, f, target, keep, clients.second, clients.answers.replica, clients.board, c.count)
    elif answer == ANSWER_METRICS:
        metrics_render(&text, f, keep, clients.second, clients.answers.replica, clients.board)
    elif not readiness_render(&text, f, keep, clients.second, clients.board):
        answer = ANSWER_UNREADY
    clients.seat.answered[answer] += 1
    return queue_put_rendered(&clients.queue, answer, &text)


cdef inline void client_wait_for_request(Clients *clients, uint32_t fd, bint answered) noexcept nogil:
    """All is answered. A deadline runs from when the wait began, not from the last byte."""
    cdef const Framing *f = &clients.table[fd].framing
    cdef uint8_t wait = WAIT_IDLE
    if http1_begun(f):
        wait = WAIT_HEAD if f.state < STATE_BODY else WAIT_BODY
    if answered or wait != clients.waits.links[fd].wait or not clients.table[fd].watched:
        client_wait(clients, fd, wait, EPOLLIN)


# ---- sending ------------------------------------------------------------------------------------------------------

cdef inline void client_send(Clients *clients, uint32_t fd) noexcept nogil:
    """Send what is in the queue. What the client does not take is put away, and nothing more is read from it."""
    cdef int sent = queue_send(&clients.queue, clients.answers, fd)
    if sent == SENT_ALL:
        client_sent(clients, fd)
    elif sent == SENT_FAILED:
        client_close(clients, fd)
    else:
        if not queue_put_away(&clients.queue, &clients.rests[fd], clients.rendered[fd]):
            clients.table[fd].ends = True
            clients.table[fd].lingers = True
        client_wait(clients, fd, WAIT_SEND, EPOLLOUT)


cdef inline void client_resume(Clients *clients, uint32_t fd) noexcept nogil:
    queue_take_back(&clients.queue, &clients.rests[fd], clients.rendered[fd])
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
    cdef ssize_t size = recv(fd, clients.buffer, DISCARD_MOST, MSG_DONTWAIT | MSG_TRUNC)
    if size < 0 and (errno == EAGAIN or errno == EINTR):
        return
    if size > 0:
        c.count += <uint32_t>size
    if size <= 0 or c.count > LINGER_MOST:
        client_close(clients, fd)
