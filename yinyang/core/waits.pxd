"""Deadlines: for each kind of waiting a list of connections, the one that waits longest first.

All that wait for the same thing may wait equally long, so each list is in order of time by itself: putting, removing
and finding the next deadline are a few writes, however many connections there are. Connections are known by their
descriptor, and descriptor 0, which is never one, ends a list.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef enum:
    WAIT_NOTHING
    WAIT_IDLE  # for the first byte of a request
    WAIT_HEAD  # for the rest of a head
    WAIT_BODY  # for the rest of a body
    WAIT_SEND  # for the client to take any of its answers
    WAIT_LINGER  # for the client to end, after an answer that ends the connection
    WAIT_FAREWELL  # for the client to end, as the server does
    WAITS

cdef enum:
    LAST_MOMENT = 50  # ms for what is on its way when a server ends: a handshake, a request, a client's end

cdef struct Limits:  # how long each kind may last
    uint32_t ms[WAITS]

cdef struct Link:
    uint32_t before
    uint32_t after
    uint32_t since  # ms, wrapped around
    uint8_t wait

cdef struct Waits:
    Link *links  # one for each descriptor
    uint32_t first[WAITS]
    uint32_t last[WAITS]
    Limits limits


cdef inline void limits_set(Limits *limits, uint32_t head, uint32_t body, uint32_t sending,
                            uint32_t idle) noexcept nogil:
    """All in ms."""
    limits.ms[WAIT_IDLE] = idle
    limits.ms[WAIT_HEAD] = head
    limits.ms[WAIT_BODY] = body
    limits.ms[WAIT_SEND] = sending
    limits.ms[WAIT_LINGER] = 1000
    limits.ms[WAIT_FAREWELL] = LAST_MOMENT


cdef inline void waits_remove(Waits *waits, uint32_t fd) noexcept nogil:
    cdef Link *link = &waits.links[fd]
    if link.wait == WAIT_NOTHING:
        return
    if link.before:
        waits.links[link.before].after = link.after
    else:
        waits.first[link.wait] = link.after
    if link.after:
        waits.links[link.after].before = link.before
    else:
        waits.last[link.wait] = link.before
    link.wait = WAIT_NOTHING


cdef inline void waits_put(Waits *waits, uint32_t fd, uint8_t wait, int64_t now) noexcept nogil:
    """From now on `fd` waits for this, whatever it waited for."""
    cdef Link *link = &waits.links[fd]
    waits_remove(waits, fd)
    link.wait = wait
    link.since = <uint32_t>now
    link.before = waits.last[wait]
    link.after = 0
    if link.before:
        waits.links[link.before].after = fd
    else:
        waits.first[wait] = fd
    waits.last[wait] = fd


cdef inline uint32_t waits_left(const Waits *waits, uint8_t wait, int64_t now) noexcept nogil:
    """ms until the first deadline of a list that is not empty; 0 if it has passed."""
    cdef uint32_t waited = <uint32_t>now - waits.links[waits.first[wait]].since
    return waits.limits.ms[wait] - waited if waited < waits.limits.ms[wait] else 0


cdef inline int waits_timeout(const Waits *waits, int64_t now) noexcept nogil:
    """ms until the next deadline, as for epoll_wait(2); -1 if there is none."""
    cdef int timeout = -1
    cdef uint32_t left
    cdef uint8_t wait
    for wait in range(WAIT_IDLE, WAITS):
        if waits.first[wait]:
            left = waits_left(waits, wait, now)
            if timeout < 0 or left < <uint32_t>timeout:
                timeout = <int>left
    return timeout


cdef inline uint32_t waits_expired(const Waits *waits, int64_t now) noexcept nogil:
    """A connection whose deadline has passed, or 0."""
    cdef uint8_t wait
    for wait in range(WAIT_IDLE, WAITS):
        if waits.first[wait] and waits_left(waits, wait, now) == 0:
            return waits.first[wait]
    return 0
