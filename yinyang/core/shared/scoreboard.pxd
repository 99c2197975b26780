"""The memory that the parent and its workers share: a slot for each worker, and what holds for all of them."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from ..os.atomic cimport (
    atomic_barrier, atomic_get_i64, atomic_get_u32, atomic_get_u64, atomic_set_u64, atomic_swap_u32
)
from ..os.syscalls cimport MAP_SHARED, map_file, map_memory, munmap, shared_memory_open, wall_second
from .page_ring cimport PageRing, page_ring_has_more

cdef extern from "routes.h" nogil:
    enum:
        ROUTE_COUNT
        ROUTE_PAGE
        STATUS_200
        STATUS_COUNT

cdef extern from "atomic.h" nogil:
    ctypedef uint64_t line_u64 "cache_line_u64"  # begins a cache line, and so makes its struct a whole number of lines
    void static_assert "STATIC_ASSERT"(bint condition)

cdef enum:
    GUARD_ENTERED = 1 << 16

cdef enum Phase:
    PHASE_SERVING
    PHASE_DRAINING  # each response is the last one on its connection
    PHASE_STOPPING  # and no connections are accepted

cdef struct WorkerSlot:  # written by its worker alone, but for ready_from, and for the reader's part of the page ring
    line_u64 open  # connections
    uint64_t accepted  # connections, ever
    uint64_t shed  # connections that were closed to make room, ever
    uint64_t open_max  # connections that it can have
    uint64_t guards  # GUARD_ENTERED, and the parts of the sandbox that hold, once the worker has entered it
    int64_t ready_from  # ms; written by the parent: the worker is ready from then on; INT64_MAX: it is not
    uint64_t answered[ROUTE_COUNT][STATUS_COUNT]  # responses, ever
    PageRing page_ring

cdef struct Counts:
    uint64_t pages
    uint64_t accepted
    uint64_t shed
    uint64_t open
    uint64_t open_max

cdef struct Scoreboard:
    int64_t started  # s of the wall clock
    uint32_t parent_sleeps  # the parent waits, and wants a wakeup for the next page
    uint32_t phase
    uint32_t workers
    WorkerSlot slots[1]  # `workers` of them


cdef inline size_t scoreboard_size(int workers) noexcept nogil:
    static_assert(sizeof(WorkerSlot) % 64 == 0)  # so the counters of two workers are never in one cache line
    return sizeof(Scoreboard) + (<size_t>workers - 1) * sizeof(WorkerSlot)


cdef inline Scoreboard *scoreboard_open(int workers, int *fd) noexcept nogil:
    """A scoreboard of empty slots, or NULL. For those that do not inherit it, `fd` (NULL: there are none) becomes its
    descriptor, or -1 if there is none to be had."""
    cdef size_t size = scoreboard_size(workers)
    cdef Scoreboard *scoreboard
    if fd != NULL:
        fd[0] = shared_memory_open(size)
    if fd != NULL and fd[0] >= 0:
        scoreboard = <Scoreboard *>map_file(fd[0], size)
    else:
        scoreboard = <Scoreboard *>map_memory(size, MAP_SHARED)
    if scoreboard != NULL:
        scoreboard.workers = workers
        scoreboard.started = wall_second()
    return scoreboard


cdef inline Scoreboard *scoreboard_attach(int fd, int workers) noexcept nogil:
    """The scoreboard that another process has opened, or NULL."""
    return <Scoreboard *>map_file(fd, scoreboard_size(workers))


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
    """The number of workers that serve, and have not just been restarted for the second time in a row."""
    cdef uint32_t ready = 0
    cdef uint32_t i
    for i in range(scoreboard.workers):
        ready += atomic_get_i64(&scoreboard.slots[i].ready_from) <= now
    return ready


cdef inline void slot_count(WorkerSlot *slot, int route, int status) noexcept nogil:
    """Count a response."""
    atomic_set_u64(&slot.answered[route][status], slot.answered[route][status] + 1)


cdef inline uint64_t scoreboard_answered(const Scoreboard *scoreboard, int route, int status) noexcept nogil:
    """The responses of all workers."""
    cdef uint64_t count = 0
    cdef uint32_t i
    for i in range(scoreboard.workers):
        count += atomic_get_u64(&scoreboard.slots[i].answered[route][status])
    return count


cdef inline Counts scoreboard_counts(const Scoreboard *scoreboard) noexcept nogil:
    """Over all workers."""
    cdef Counts counts
    cdef uint32_t i
    memset(&counts, 0, sizeof(Counts))
    counts.pages = scoreboard_answered(scoreboard, ROUTE_PAGE, STATUS_200)
    for i in range(scoreboard.workers):
        counts.accepted += atomic_get_u64(&scoreboard.slots[i].accepted)
        counts.shed += atomic_get_u64(&scoreboard.slots[i].shed)
        counts.open += atomic_get_u64(&scoreboard.slots[i].open)
        counts.open_max += atomic_get_u64(&scoreboard.slots[i].open_max)
    return counts


cdef inline bint scoreboard_prepare_sleep(Scoreboard *scoreboard) noexcept nogil:
    """The parent is about to wait without a timeout. False if it must not, as there are pages already.

    Either the worker sees the flag, or the parent sees the pages: both write first and read after a barrier."""
    atomic_swap_u32(&scoreboard.parent_sleeps, 1)
    atomic_barrier()
    if scoreboard_has_pages(scoreboard):
        atomic_swap_u32(&scoreboard.parent_sleeps, 0)
        return False
    return True


cdef inline void scoreboard_return_wakeup(Scoreboard *scoreboard) noexcept nogil:
    """After scoreboard_claim_wakeup, if the wakeup failed."""
    atomic_swap_u32(&scoreboard.parent_sleeps, 1)


cdef inline bint scoreboard_claim_wakeup(Scoreboard *scoreboard) noexcept nogil:
    """A worker has written to its page ring. True if it must wake the parent."""
    atomic_barrier()
    return atomic_get_u32(&scoreboard.parent_sleeps) != 0 and atomic_swap_u32(&scoreboard.parent_sleeps, 0) != 0
