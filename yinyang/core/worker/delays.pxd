"""The connections whose response is due later, in a binary heap: the one that is due first is at its top.

Adding and removing one takes logarithmic time. The clock is exact, unlike that of the deadlines, as a delay is a
promise to the ms. The tables are not touched until a response is delayed.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t

from ..os.syscalls cimport monotonic_ns, own_cpu_time

cdef enum:
    NS_PER_MS = 1000000
    BURN_PIECE = 20  # ms of CPU time in one turn of the worker

cdef struct Delay:
    uint32_t fd
    uint32_t begun  # ms, wrapped around
    uint32_t due  # ms, likewise
    uint32_t burn  # ms of CPU time to use then

cdef struct Delays:
    Delay *heap  # one for each descriptor
    uint32_t *places  # of the descriptors in the heap
    uint32_t count


cdef inline uint32_t delays_now() noexcept nogil:
    """ms, rounded down and wrapped around."""
    return <uint32_t>(monotonic_ns() // NS_PER_MS)


cdef inline void delays_add(Delays *delays, uint32_t fd, uint32_t ms, uint32_t burn) noexcept nogil:
    """Have `fd` be due in `ms`, never earlier."""
    cdef Delay *delay = &delays.heap[delays.count]
    delay.fd = fd
    delay.begun = delays_now()
    delay.due = delay.begun + ms + (ms != 0)  # the current ms has begun already
    delay.burn = burn
    delays.places[fd] = delays.count
    delays.count += 1
    delays_rise(delays, delays.count - 1)


cdef inline void delays_remove(Delays *delays, uint32_t fd) noexcept nogil:
    cdef uint32_t place = delays.places[fd]
    delays.count -= 1
    if place != delays.count:
        delays.heap[place] = delays.heap[delays.count]
        delays.places[delays.heap[place].fd] = place
        delays_sink(delays, place)
        delays_rise(delays, place)


cdef inline const Delay *delays_of(const Delays *delays, uint32_t fd) noexcept nogil:
    return &delays.heap[delays.places[fd]]


cdef inline bint delays_burn(Delays *delays, uint32_t fd) noexcept nogil:
    """Use some of the CPU time that a response is to cost; False if it has used all."""
    cdef Delay *delay = &delays.heap[delays.places[fd]]
    cdef uint32_t piece = min(delay.burn, <uint32_t>BURN_PIECE)
    cdef int64_t end
    if piece:
        end = own_cpu_time() + piece * <int64_t>NS_PER_MS
        while own_cpu_time() < end:
            pass
        delay.burn -= piece
    return piece != 0


cdef inline uint32_t delays_due(const Delays *delays) noexcept nogil:
    """A connection that is due, or 0."""
    if delays.count == 0 or <int32_t>(delays.heap[0].due - delays_now()) > 0:
        return 0
    return delays.heap[0].fd


cdef inline int delays_timeout(const Delays *delays, int timeout) noexcept nogil:
    """The timeout in ms, or -1 for none, cut down to the next one that is due."""
    cdef int32_t left
    if delays.count == 0:
        return timeout
    left = max(<int32_t>(delays.heap[0].due - delays_now()), <int32_t>0)
    return left if timeout < 0 or left < timeout else timeout


cdef inline bint delays_earlier(const Delays *delays, uint32_t one, uint32_t other) noexcept nogil:
    return <int32_t>(delays.heap[one].due - delays.heap[other].due) < 0


cdef inline void delays_swap(Delays *delays, uint32_t one, uint32_t other) noexcept nogil:
    cdef Delay delay = delays.heap[one]
    delays.heap[one] = delays.heap[other]
    delays.heap[other] = delay
    delays.places[delays.heap[one].fd] = one
    delays.places[delays.heap[other].fd] = other


cdef inline void delays_rise(Delays *delays, uint32_t place) noexcept nogil:
    while place and delays_earlier(delays, place, (place - 1) // 2):
        delays_swap(delays, place, (place - 1) // 2)
        place = (place - 1) // 2


cdef inline void delays_sink(Delays *delays, uint32_t place) noexcept nogil:
    cdef uint32_t child = 2 * place + 1
    while child < delays.count:
        if child + 1 < delays.count and delays_earlier(delays, child + 1, child):
            child += 1
        if not delays_earlier(delays, child, place):
            return
        delays_swap(delays, child, place)
        place = child
        child = 2 * place + 1
