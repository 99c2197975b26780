"""Deadlines: a list of connections for each kind of waiting, the one that has waited longest first.

All connections in a list have the same time limit, so each list is sorted by its order of arrival. Adding, removing and
finding the next deadline take constant time. A list holds descriptors; descriptor 0, which is no connection, ends it.

A client that sends a body or reads responses has as much time as it needs at the least rate: each byte gives it the
time of one byte at that rate. A client that is late by the limit of its list, or silent for that long, is ended.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t

from ..config.config cimport Config

cdef extern from "option_table.h" nogil:
    enum:
        OPTION_BODY_TIMEOUT
        OPTION_HEAD_TIMEOUT
        OPTION_IDLE_TIMEOUT
        OPTION_SEND_TIMEOUT

cdef enum:
    WAIT_NOTHING
    WAIT_IDLE  # for the first byte of a request
    WAIT_HEAD  # for the rest of a head
    WAIT_ANSWER  # for the first byte of a long body, before the response is sent without it
    WAIT_BODY  # for the rest of a body
    WAIT_DELAY  # until a response is due, which worker/delays.pxd knows
    WAIT_SEND  # for the client to take any of its responses
    WAIT_LINGER  # for the client to close, after a response that ends the connection
    WAIT_FAREWELL  # for the client to close, as the server stops
    WAIT_COUNT

cdef enum:
    ANSWER_DELAY = 1000  # ms
    DELAY_MAX = 3600000  # ms, longer than any; those that wait for CPU time to be used may have to queue
    LINGER_TIMEOUT = 5000  # ms
    LINGER_TIMEOUT_AT_END = 1000  # ms, as the server stops
    SEND_RATE_MIN = 240  # bytes/s of a body, or of what a client sends after its last response
    READ_RATE_MIN = 4096  # bytes/s of responses; it matters only if they do not fit in the kernel's buffer
    LAST_MOMENT = 50  # ms for packets that are on their way when a server stops: a handshake, a request, a FIN

cdef struct TimerNode:
    uint32_t before
    uint32_t after
    uint32_t since  # ms, wrapped around
    uint8_t wait

cdef struct Timers:
    TimerNode *nodes  # one for each descriptor
    uint32_t first[WAIT_COUNT]
    uint32_t last[WAIT_COUNT]
    uint32_t limits[WAIT_COUNT]  # ms that each kind may last


cdef inline void timers_set_limits(Timers *timers, const Config *config) noexcept nogil:
    timers.limits[WAIT_IDLE] = config.numbers[OPTION_IDLE_TIMEOUT]
    timers.limits[WAIT_HEAD] = config.numbers[OPTION_HEAD_TIMEOUT]
    timers.limits[WAIT_ANSWER] = min(<int>ANSWER_DELAY, config.numbers[OPTION_BODY_TIMEOUT])
    timers.limits[WAIT_BODY] = config.numbers[OPTION_BODY_TIMEOUT]
    timers.limits[WAIT_DELAY] = DELAY_MAX
    timers.limits[WAIT_SEND] = config.numbers[OPTION_SEND_TIMEOUT]
    timers.limits[WAIT_LINGER] = LINGER_TIMEOUT
    timers.limits[WAIT_FAREWELL] = LAST_MOMENT


cdef inline void timers_stop(Timers *timers, uint32_t fd) noexcept nogil:
    cdef TimerNode *node = &timers.nodes[fd]
    if node.wait == WAIT_NOTHING:
        return
    if node.before:
        timers.nodes[node.before].after = node.after
    else:
        timers.first[node.wait] = node.after
    if node.after:
        timers.nodes[node.after].before = node.before
    else:
        timers.last[node.wait] = node.before
    node.wait = WAIT_NOTHING


cdef inline void timers_start(Timers *timers, uint32_t fd, uint8_t wait, int64_t now) noexcept nogil:
    """Begin another kind of waiting for `fd`."""
    cdef TimerNode *node = &timers.nodes[fd]
    timers_stop(timers, fd)
    node.wait = wait
    node.since = <uint32_t>now
    node.before = timers.last[wait]
    node.after = 0
    if node.before:
        timers.nodes[node.before].after = fd
    else:
        timers.first[wait] = fd
    timers.last[wait] = fd


cdef inline bint timers_progress(Timers *timers, uint32_t fd, uint32_t *late, size_t count, uint32_t rate,
                                 int64_t now) noexcept nogil:
    """Note that a client has sent or read `count` bytes while the wait goes on. `late` counts the ms that it is behind
    the rate. False if that is too much."""
    cdef uint8_t wait = timers.nodes[fd].wait
    cdef uint64_t behind = <uint64_t>late[0] + (<uint32_t>now - timers.nodes[fd].since)
    cdef uint64_t made_up = <uint64_t>count * 1000 // rate
    late[0] = <uint32_t>(behind - made_up) if made_up < behind else 0
    timers_start(timers, fd, wait, now)
    return late[0] < timers.limits[wait]


cdef inline uint32_t timers_remaining(const Timers *timers, uint8_t wait, int64_t now) noexcept nogil:
    """ms until the first deadline of a list that is not empty; 0 if it has passed."""
    cdef uint32_t waited = <uint32_t>now - timers.nodes[timers.first[wait]].since
    return timers.limits[wait] - waited if waited < timers.limits[wait] else 0


cdef inline int timers_timeout(const Timers *timers, int64_t now) noexcept nogil:
    """ms until the next deadline, as for epoll_wait(2); -1 if there is none."""
    cdef int timeout = -1
    cdef uint32_t left
    cdef uint8_t wait
    for wait in range(WAIT_IDLE, WAIT_COUNT):
        if timers.first[wait]:
            left = timers_remaining(timers, wait, now)
            if timeout < 0 or left < <uint32_t>timeout:
                timeout = <int>left
    return timeout


cdef inline uint32_t timers_expired(const Timers *timers, int64_t now) noexcept nogil:
    """A connection whose deadline has passed, or 0."""
    cdef uint8_t wait
    for wait in range(WAIT_IDLE, WAIT_COUNT):
        if timers.first[wait] and timers_remaining(timers, wait, now) == 0:
            return timers.first[wait]
    return 0
