"""The memory that the parent and its workers share: a slot for each worker, and what holds for all."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from ..http.responses cimport RESPONSE_COUNT
from ..os.atomic cimport atomic_barrier, atomic_get_i64, atomic_get_u32, atomic_get_u64, atomic_swap_u32
from ..os.syscalls cimport MAP_SHARED, map_memory, munmap, wall_second
from .page_ring cimport PageRing, page_ring_has_more

cdef enum:
    GUARD_ENTERED = 1 << 16

cdef enum Phase:
    PHASE_SERVING
    PHASE_DRAINING  # every answer is the last one on its connection
    PHASE_STOPPING  # and no connection comes any more

cdef struct WorkerSlot:  # written by its worker alone, but for what the page ring says otherwise
    uint64_t open  # connections
    uint64_t accepted  # connections, ever
    uint64_t pages  # ever
    uint64_t guards  # GUARD_ENTERED, and of the sandbox those that hold, once the worker has entered it
    int64_t ready_from  # ms; written by the parent: from then on it serves; INT64_MAX: it does not
    uint64_t apart[3]  # keeps the counters of two workers out of one cache line
    uint64_t answered[RESPONSE_COUNT]  # ever, by the number of the answer; pages are counted above alone
    PageRing page_ring

cdef struct Counts:  # as in a Seat
    uint64_t pages
    uint64_t accepted
    uint64_t open

cdef struct Scoreboard:
    uint32_t parent_sleeps  # the parent waits, and wants to be rung for the next page
    uint32_t phase
    uint32_t workers
    uint32_t apart
    int64_t started  # s of the wall clock
    uint64_t apart_too[5]
    WorkerSlot slots[1]  # `workers` of them


cdef inline size_t scoreboard_size(int workers) noexcept nogil:
    return sizeof(Scoreboard) + (workers - 1) * sizeof(WorkerSlot)


cdef inline Scoreboard *scoreboard_open(int workers) noexcept nogil:
    """A scoreboard of empty slots, or NULL."""
    cdef Scoreboard *scoreboard = <Scoreboard *>map_memory(scoreboard_size(workers), MAP_SHARED)
    if scoreboard != NULL:
        scoreboard.workers = workers
        scoreboard.started = wall_second()
    return scoreboard


cdef inline void scoreboard_close(Scoreboard *scoreboard) noexcept nogil:
    if scoreboard != NULL:
        munmap(scoreboard, scoreboard_size(scoreboard.workers))


cdef inline bint scoreboard_has_pages(Scoreboard *scoreboard) noexcept nogil:
    cdef uint32_t i
    for i in range(scoreboard.workers):
        if page_ring_has_more(&scoreboard.slots[i].page_ring):
            return True
    return False


cdef inline uint32_t scoreboard_ready_workers(const Scoreboard *scoreboard, int64_t now) noexcept nogil:
    """How many workers serve, and have not just been restarted for the second time in a row."""
    cdef uint32_t ready = 0
    cdef uint32_t i
    for i in range(scoreboard.workers):
        ready += atomic_get_i64(&scoreboard.slots[i].ready_from) <= now
    return ready


cdef inline Counts scoreboard_counts(const Scoreboard *scoreboard) noexcept nogil:
    """Over all workers."""
    cdef Counts counts
    cdef uint32_t i
    counts.pages = 0
    counts.accepted = 0
    counts.open = 0
    for i in range(scoreboard.workers):
        counts.pages += atomic_get_u64(&scoreboard.slots[i].pages)
        counts.accepted += atomic_get_u64(&scoreboard.slots[i].accepted)
        counts.open += atomic_get_u64(&scoreboard.slots[i].open)
    return counts


cdef inline bint scoreboard_prepare_sleep(Scoreboard *scoreboard) noexcept nogil:
    """The parent is about to wait without end. False if it must not, as there is news already.

    Either the worker sees the flag, or the parent sees the news: both write first and read after a barrier."""
    atomic_swap_u32(&scoreboard.parent_sleeps, 1)
    atomic_barrier()
    if scoreboard_has_pages(scoreboard):
        atomic_swap_u32(&scoreboard.parent_sleeps, 0)
        return False
    return True


cdef inline void scoreboard_return_wakeup(Scoreboard *scoreboard) noexcept nogil:
    """After scoreboard_claim_wakeup, when ringing failed."""
    atomic_swap_u32(&scoreboard.parent_sleeps, 1)


cdef inline bint scoreboard_claim_wakeup(Scoreboard *scoreboard) noexcept nogil:
    """A worker has written news: is it the one that must ring?"""
    atomic_barrier()
    return atomic_get_u32(&scoreboard.parent_sleeps) != 0 and atomic_swap_u32(&scoreboard.parent_sleeps, 0) != 0
