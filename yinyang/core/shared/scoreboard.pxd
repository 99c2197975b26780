"""The memory that the parent and its workers share: the notices of the parent, and a slot for each worker.

A worker can write only its own slot: the rest is read-only for it (scoreboard_protect), and its sandbox keeps it from
changing that. The parent checks all that it reads from a slot. Sizes and places are not in shared memory: each process
has a Scoreboard of its own.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
from libc.string cimport memset

from ..os.atomic cimport (
    atomic_barrier, atomic_get_i64, atomic_get_u32, atomic_get_u64, atomic_observe_u64, atomic_publish_u32,
    atomic_publish_u64, atomic_set_i64, atomic_set_u64, static_assert
)
from ..os.syscalls cimport (
    MAP_SHARED, PROT_READ, errno, getpagesize, map_file, map_memory, monotonic_ns, monotonic_us, mprotect,
    munmap, shared_memory_open, wall_second
)
from .fault_settings cimport FaultSettings, fault_settings_pack, fault_settings_unpack
from .page_ring cimport PageRing

cdef extern from "durations.h" nogil:
    struct DurationBucket "duration_bucket":
        int most
        const char *seconds
    enum:
        DURATION_BUCKETS
    const DurationBucket duration_buckets[DURATION_BUCKETS]

cdef extern from "routes.h" nogil:
    enum:
        LATE_ROUTES
        ROUTE_COUNT
        ROUTE_PAGE
        STATUS_200
        STATUS_COUNT

cdef enum:
    STATUS_CLASSES = 4  # 2xx to 5xx
    WORKER_UP = 1 << 16

cdef enum Phase:
    PHASE_SERVING
    PHASE_DRAINING  # each response is the last one on its connection
    PHASE_STOPPING  # and no connections are accepted

cdef struct Late:  # responses that took longer than the first bucket of the histogram has
    uint64_t counts[DURATION_BUCKETS + 1]  # by bucket, and for longer times
    uint64_t ms  # of all of them

cdef struct WorkerSlot:  # written by its worker alone
    uint64_t open  # connections
    uint64_t accepted  # connections, ever
    uint64_t shed  # connections that were closed to make room, ever
    uint64_t open_max  # the most connections that it can have
    uint64_t state  # WORKER_UP, and the guards of its sandbox; before: the call that it was refused (os/syscalls.pxd)
    uint64_t turns  # ever; a worker takes a turn when its parent has sent a byte
    uint64_t ready_asked  # the last request for a change of readiness, as of readiness_number; 0: there was none
    uint64_t commands  # requests for either change, ever
    uint64_t faults_asked  # the faults of the last request for a change of these (shared/fault_settings.pxd)
    uint64_t faults_asked_at  # ns; 0: there was none
    uint64_t answered[ROUTE_COUNT][STATUS_COUNT]  # responses, ever
    Late late[LATE_ROUTES][STATUS_CLASSES]  # those of them that were late
    PageRing page_ring

cdef struct WorkerNotice:  # what the parent says about one worker
    int64_t ready_from  # ms: the worker counts as ready from then on; INT64_MAX: it is dead or stopped
    uint64_t oldest  # `oldest` of the reader of its page ring

cdef struct Notice:  # what the parent tells all workers
    int64_t started  # s of the wall clock
    int64_t began  # us: when the start of the replica began
    int64_t start_ms  # how long that took, until a worker served; negative: none does yet
    int64_t ready_at  # ms: it is not ready before
    uint64_t faults  # as they are now (shared/fault_settings.pxd)
    uint64_t faults_of_options  # as they were at the start
    uint32_t phase
    uint32_t unready  # whether somebody has told the replica not to be ready
    uint32_t sleep  # while the parent waits for the next page: the number of this wait, which is odd
    uint32_t unused  # so that 64-bit members are at multiples of 8 bytes, also on i386
    WorkerNotice workers[1]  # one for each worker

cdef struct Counts:
    uint64_t pages
    uint64_t accepted
    uint64_t shed
    uint64_t open
    uint64_t open_max

cdef struct Scoreboard:
    Notice *notice  # the shared memory begins with it; NULL: there is none
    char *slots
    size_t slot_size  # whole pages of memory
    uint32_t workers


cdef inline size_t whole_pages(size_t size) noexcept nogil:
    cdef size_t page = <size_t>getpagesize()
    return (size + page - 1) // page * page


cdef inline size_t notice_size(uint32_t workers) noexcept nogil:
    return whole_pages(sizeof(Notice) + (<size_t>workers - 1) * sizeof(WorkerNotice))


cdef inline size_t scoreboard_size(const Scoreboard *scoreboard) noexcept nogil:
    return notice_size(scoreboard.workers) + scoreboard.workers * scoreboard.slot_size


cdef inline bint scoreboard_open(Scoreboard *scoreboard, int workers, int *fd) noexcept nogil:
    """Open one with empty slots; False if there is no memory. `fd` becomes its descriptor, for processes that do not
    inherit the memory, or -1 if that fails; NULL if there are no such processes."""
    cdef void *memory
    scoreboard_lay_out(scoreboard, workers)
    if fd != NULL:
        fd[0] = shared_memory_open(scoreboard_size(scoreboard))
    if fd != NULL and fd[0] >= 0:
        memory = map_file(fd[0], scoreboard_size(scoreboard))
    else:
        memory = map_memory(scoreboard_size(scoreboard), MAP_SHARED)
    if not scoreboard_place(scoreboard, memory):
        return False
    scoreboard.notice.started = wall_second()
    scoreboard.notice.began = monotonic_us()
    scoreboard.notice.start_ms = -1
    return True


cdef inline bint scoreboard_attach(Scoreboard *scoreboard, int workers, int fd) noexcept nogil:
    """Attach one that another process has opened; False if that is not possible."""
    scoreboard_lay_out(scoreboard, workers)
    return scoreboard_place(scoreboard, map_file(fd, scoreboard_size(scoreboard)))


cdef inline void scoreboard_lay_out(Scoreboard *scoreboard, int workers) noexcept nogil:
    static_assert(sizeof(Notice) % 8 == 0)
    static_assert(sizeof(WorkerNotice) % 8 == 0)
    static_assert(sizeof(WorkerSlot) % 8 == 0)
    scoreboard.workers = <uint32_t>workers
    scoreboard.slot_size = whole_pages(sizeof(WorkerSlot))


cdef inline bint scoreboard_place(Scoreboard *scoreboard, void *memory) noexcept nogil:
    """False if the memory is NULL."""
    scoreboard.notice = <Notice *>memory
    scoreboard.slots = <char *>memory + notice_size(scoreboard.workers)
    return memory != NULL


cdef inline void scoreboard_close(Scoreboard *scoreboard) noexcept nogil:
    if scoreboard.notice != NULL:
        munmap(scoreboard.notice, scoreboard_size(scoreboard))
    scoreboard.notice = NULL


cdef inline WorkerSlot *scoreboard_slot(const Scoreboard *scoreboard, uint32_t slot) noexcept nogil:
    return <WorkerSlot *>(scoreboard.slots + slot * scoreboard.slot_size)


cdef inline int scoreboard_protect(const Scoreboard *scoreboard, uint32_t slot) noexcept nogil:
    """Make all but its slot read-only for this worker. 0 or -errno."""
    cdef char *begin = <char *>scoreboard.notice
    cdef char *own = <char *>scoreboard_slot(scoreboard, slot)
    cdef char *behind = own + scoreboard.slot_size
    cdef char *end = begin + scoreboard_size(scoreboard)
    if mprotect(begin, <size_t>(own - begin), PROT_READ) < 0:
        return -errno
    if end > behind and mprotect(behind, <size_t>(end - behind), PROT_READ) < 0:
        return -errno
    return 0


# ---- what the parent tells ----------------------------------------------------------------------------------------

cdef inline void scoreboard_set_phase(const Scoreboard *scoreboard, uint32_t phase) noexcept nogil:
    atomic_publish_u32(&scoreboard.notice.phase, phase)


cdef inline uint32_t scoreboard_phase(const Scoreboard *scoreboard) noexcept nogil:
    return atomic_get_u32(&scoreboard.notice.phase)


cdef inline void scoreboard_set_began(const Scoreboard *scoreboard, int64_t began) noexcept nogil:
    """Before there are workers."""
    scoreboard.notice.began = began


cdef inline void scoreboard_note_up(const Scoreboard *scoreboard) noexcept nogil:
    """The first worker serves."""
    atomic_set_i64(&scoreboard.notice.start_ms, ms_since(scoreboard.notice.began))


cdef inline int64_t scoreboard_start_ms(const Scoreboard *scoreboard) noexcept nogil:
    """How long the start took. A worker may answer before its parent knows that it serves: the start has taken until
    now then."""
    cdef int64_t start_ms = atomic_get_i64(&scoreboard.notice.start_ms)
    return start_ms if start_ms >= 0 else ms_since(scoreboard.notice.began)


cdef inline int64_t ms_since(int64_t us) noexcept nogil:
    return (monotonic_us() - us + 500) // 1000


cdef inline void scoreboard_set_ready_at(const Scoreboard *scoreboard, int64_t ready_at) noexcept nogil:
    """Before there are workers."""
    scoreboard.notice.ready_at = ready_at


cdef inline void scoreboard_set_faults(const Scoreboard *scoreboard, const FaultSettings *settings) noexcept nogil:
    atomic_publish_u64(&scoreboard.notice.faults, fault_settings_pack(settings))


cdef inline void scoreboard_set_faults_of_options(const Scoreboard *scoreboard,
                                                  const FaultSettings *settings) noexcept nogil:
    """Before there are workers."""
    scoreboard.notice.faults_of_options = fault_settings_pack(settings)
    scoreboard_set_faults(scoreboard, settings)


cdef inline uint64_t scoreboard_faults(const Scoreboard *scoreboard) noexcept nogil:
    return atomic_get_u64(&scoreboard.notice.faults)


cdef inline void scoreboard_set_unready(const Scoreboard *scoreboard, bint unready) noexcept nogil:
    atomic_publish_u32(&scoreboard.notice.unready, unready)


cdef inline bint scoreboard_is_unready(const Scoreboard *scoreboard) noexcept nogil:
    """Whether somebody has told the replica not to be ready."""
    return atomic_get_u32(&scoreboard.notice.unready) != 0


cdef inline void scoreboard_set_ready(const Scoreboard *scoreboard, uint32_t slot, int64_t since) noexcept nogil:
    atomic_set_i64(&scoreboard.notice.workers[slot].ready_from, since)


cdef inline bint scoreboard_is_there(const Scoreboard *scoreboard, uint32_t slot) noexcept nogil:
    """Whether the slot has a worker that is neither dead nor stopped."""
    return atomic_get_i64(&scoreboard.notice.workers[slot].ready_from) != INT64_MAX


cdef inline uint32_t scoreboard_ready_workers(const Scoreboard *scoreboard, int64_t now) noexcept nogil:
    """The number of workers that serve, and have not just been restarted for the second time in a row."""
    cdef uint32_t ready = 0
    cdef uint32_t i
    for i in range(scoreboard.workers):
        ready += atomic_get_i64(&scoreboard.notice.workers[i].ready_from) <= now
    return ready


cdef inline void scoreboard_set_oldest(const Scoreboard *scoreboard, uint32_t slot, uint64_t oldest) noexcept nogil:
    """Allow the worker to reuse the slots of its page ring before this one."""
    atomic_publish_u64(&scoreboard.notice.workers[slot].oldest, oldest)


cdef inline void scoreboard_prepare_slot(const Scoreboard *scoreboard, uint32_t slot) noexcept nogil:
    """Prepare for the next worker, which goes on with the counters of the one before."""
    atomic_set_u64(&scoreboard_slot(scoreboard, slot).open, 0)
    atomic_set_u64(&scoreboard_slot(scoreboard, slot).state, 0)


cdef inline void scoreboard_clear_slot(const Scoreboard *scoreboard, uint32_t slot) noexcept nogil:
    """Clear the slot of a dead worker that was not to be trusted."""
    memset(scoreboard_slot(scoreboard, slot), 0, sizeof(WorkerSlot))
    scoreboard_set_oldest(scoreboard, slot, 0)


# ---- waking the parent --------------------------------------------------------------------------------------------
#
# Both sides write first and read after a barrier, so the worker sees that the parent waits, or the parent sees the
# pages.

cdef inline void scoreboard_begin_sleep(const Scoreboard *scoreboard, uint32_t sleep) noexcept nogil:
    """Say that the parent is about to wait. After this it looks whether there are pages already. `sleep` is odd."""
    atomic_publish_u32(&scoreboard.notice.sleep, sleep)
    atomic_barrier()


cdef inline void scoreboard_end_sleep(const Scoreboard *scoreboard, uint32_t sleep) noexcept nogil:
    atomic_publish_u32(&scoreboard.notice.sleep, sleep + 1)


cdef inline uint32_t scoreboard_sleep(const Scoreboard *scoreboard) noexcept nogil:
    """For a worker that has added to its page ring: the number of the wait that it must end, by one byte; 0 if the
    parent does not wait."""
    cdef uint32_t sleep
    atomic_barrier()
    sleep = atomic_get_u32(&scoreboard.notice.sleep)
    return sleep if sleep & 1 else 0


# ---- counters -----------------------------------------------------------------------------------------------------

cdef inline void slot_count(WorkerSlot *slot, int route, int status) noexcept nogil:
    """Count a response."""
    atomic_set_u64(&slot.answered[route][status], slot.answered[route][status] + 1)


cdef inline void slot_count_late(WorkerSlot *slot, int route, int status_class, uint32_t ms) noexcept nogil:
    """Note that the last response that was counted took `ms`. Its class is 0 for 2xx, to 3 for 5xx."""
    cdef Late *late = &slot.late[route][status_class]
    cdef int bucket = 0
    while bucket < DURATION_BUCKETS and ms > <uint32_t>duration_buckets[bucket].most:
        bucket += 1
    if bucket:
        atomic_set_u64(&late.counts[bucket], late.counts[bucket] + 1)
        atomic_set_u64(&late.ms, late.ms + ms)


cdef inline void slot_ask_faults(WorkerSlot *slot, const FaultSettings *settings) noexcept nogil:
    """Ask the parent for a change of the faults."""
    atomic_set_u64(&slot.faults_asked, fault_settings_pack(settings))
    atomic_publish_u64(&slot.faults_asked_at, <uint64_t>monotonic_ns())
    slot.commands += 1


cdef inline uint64_t slot_faults_asked_at(const Scoreboard *scoreboard, uint32_t slot,
                                          FaultSettings *settings) noexcept nogil:
    """When a worker has last asked for a change of the faults, and which; 0 if it never has, or not in a valid way."""
    cdef uint64_t at = atomic_observe_u64(&scoreboard_slot(scoreboard, slot).faults_asked_at)
    if not fault_settings_unpack(settings, atomic_get_u64(&scoreboard_slot(scoreboard, slot).faults_asked)):
        return 0
    return at if at <= <uint64_t>monotonic_ns() else 0


cdef inline uint64_t readiness_number(bint ready) noexcept nogil:
    """A number for a request for a change of readiness: greater than those of earlier ones, and odd if it is for
    ready."""
    return <uint64_t>monotonic_ns() << 1 | <uint64_t>ready


cdef inline void slot_ask_ready(WorkerSlot *slot, bint ready) noexcept nogil:
    """Ask the parent for a change of readiness."""
    atomic_set_u64(&slot.ready_asked, readiness_number(ready))
    slot.commands += 1


cdef inline uint64_t slot_ready_asked(const Scoreboard *scoreboard, uint32_t slot) noexcept nogil:
    """The last request of a worker for a change of readiness; 0 if there was none, or if it is from the future."""
    cdef uint64_t asked = atomic_get_u64(&scoreboard_slot(scoreboard, slot).ready_asked)
    return asked if asked <= readiness_number(True) else 0


cdef inline uint64_t scoreboard_answered(const Scoreboard *scoreboard, int route, int status) noexcept nogil:
    """The responses of all workers."""
    cdef uint64_t count = 0
    cdef uint32_t i
    for i in range(scoreboard.workers):
        count += atomic_get_u64(&scoreboard_slot(scoreboard, i).answered[route][status])
    return count


cdef inline Counts scoreboard_counts(const Scoreboard *scoreboard) noexcept nogil:
    """The counts of all workers together."""
    cdef Counts counts
    cdef uint32_t i
    memset(&counts, 0, sizeof(Counts))
    counts.pages = scoreboard_answered(scoreboard, ROUTE_PAGE, STATUS_200)
    for i in range(scoreboard.workers):
        counts.accepted += atomic_get_u64(&scoreboard_slot(scoreboard, i).accepted)
        counts.shed += atomic_get_u64(&scoreboard_slot(scoreboard, i).shed)
        counts.open += atomic_get_u64(&scoreboard_slot(scoreboard, i).open)
        counts.open_max += atomic_get_u64(&scoreboard_slot(scoreboard, i).open_max)
    return counts
