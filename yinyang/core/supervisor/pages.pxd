"""The pages that workers report, and whether they can have served them."""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t

from ..os.syscalls cimport monotonic_ms, wall_second
from ..shared.page_ring cimport LOOK_IMPOSSIBLE, LOOK_NOTHING, LOOK_PAGES, page_reader_look, page_reader_take
from ..shared.scoreboard cimport scoreboard_set_oldest, scoreboard_slot
from .reap cimport process_is_distrusted, process_note_cpu_time, supervisor_forget, supervisor_kill_worker
from .state cimport KILL_LIED, Supervisor, WorkerProcess

cdef enum:
    PAGE_COST_MIN = 100  # ns of CPU time; one of many pipelined pages takes 700
    PAGES_FREE = 1000  # pages that need no CPU time
    DOUBT_MAX = 200  # ms; the kernel's account of a running process's CPU time lags by a tick, 10 ms at most
    SECOND_TOLERANCE = 1  # s


cdef inline bint supervisor_look(Supervisor *supervisor) noexcept nogil:
    """Look for pages in all page rings; return whether there are any. A worker that reports impossible pages is
    killed."""
    cdef bint found = False
    cdef int i
    for i in range(supervisor.workers):
        found |= supervisor_look_at(supervisor, i)
    return found


cdef inline bint supervisor_look_at(Supervisor *supervisor, int slot) noexcept nogil:
    cdef WorkerProcess *process = &supervisor.processes[slot]
    cdef int look
    process.reader.found = 0
    if process.pid and process_is_distrusted(process):
        return False
    look = page_reader_look(&process.reader, &scoreboard_slot(&supervisor.scoreboard, <uint32_t>slot).page_ring)
    if look == LOOK_PAGES:
        look = pages_check(supervisor, process)
    if look != LOOK_IMPOSSIBLE:
        scoreboard_set_oldest(&supervisor.scoreboard, <uint32_t>slot, process.reader.oldest)
        return look != LOOK_NOTHING
    process.reader.found = 0
    if process.pid:
        supervisor_kill_worker(supervisor, slot, KILL_LIED)
    else:
        supervisor_forget(supervisor, slot)
    return False


cdef inline int pages_check(const Supervisor *supervisor, WorkerProcess *process) noexcept nogil:
    """Check the pages of the last look; a Look. Pages for which the worker has not used enough CPU time yet are left
    for later looks, for DOUBT_MAX; then they are impossible."""
    cdef int64_t now
    if not (supervisor.wall_first - SECOND_TOLERANCE <= process.reader.second
            <= supervisor.wall_last + SECOND_TOLERANCE):
        return LOOK_IMPOSSIBLE
    if pages_are_possible(process):
        process.doubted_at = 0
        return LOOK_PAGES
    now = monotonic_ms()
    if process.doubted_at == 0:
        process.doubted_at = now
    if process.pid == 0 or now - process.doubted_at >= DOUBT_MAX:
        return LOOK_IMPOSSIBLE
    process.reader.found = pages_left(process)
    return LOOK_PAGES


cdef inline bint pages_are_possible(WorkerProcess *process) noexcept nogil:
    """Whether a worker can have served the pages of the last look with the CPU time that it has used."""
    if process.reader.found <= pages_left(process):
        return True
    if process.pid:
        process_note_cpu_time(process, monotonic_ms())
    return process.reader.found <= pages_left(process)


cdef inline uint64_t pages_left(const WorkerProcess *process) noexcept nogil:
    """The number of further pages that it can have served."""
    cdef uint64_t pages = <uint64_t>(process.cpu_time_before + process.cpu_time) // PAGE_COST_MIN + PAGES_FREE
    return pages - process.pages if pages > process.pages else 0


cdef inline void supervisor_note_wall(Supervisor *supervisor, int64_t now) noexcept nogil:
    """Note the range of the wall clock since the last turn, if it was set at most once meanwhile."""
    cdef int64_t wall = wall_second()
    cdef int64_t passed = (now - supervisor.turn_at) // 1000 + 1
    supervisor.wall_last = max(supervisor.wall_last, max(wall, supervisor.wall_at + passed))
    supervisor.wall_first = min(supervisor.wall_first, wall - passed)
    supervisor.wall_at = wall
    supervisor.turn_at = now


cdef inline uint64_t supervisor_take_pages(Supervisor *supervisor, int64_t *second) noexcept nogil:
    """Take the pages of all workers in the oldest second that has any, and return their number; 0 if there are none
    now."""
    cdef WorkerProcess *process
    cdef uint64_t count = 0
    cdef uint64_t taken
    cdef int64_t oldest = INT64_MAX
    cdef int i
    supervisor_look(supervisor)
    for i in range(supervisor.workers):
        if supervisor.processes[i].reader.found:
            oldest = min(oldest, supervisor.processes[i].reader.second)
    for i in range(supervisor.workers):
        process = &supervisor.processes[i]
        if process.reader.found and process.reader.second == oldest:
            taken = page_reader_take(&process.reader)
            process.pages += taken
            count += taken
    second[0] = oldest
    return count
