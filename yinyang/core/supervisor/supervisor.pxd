"""The supervisor: the parent's side of its workers. It starts them, waits for what they report, drains and ends them.

The parent calls `supervisor_wait` again and again; in between it takes the pages that were served and writes the log.
The caller must be the thread that opened the supervisor, since the kernel ends a worker when the *thread* that forked
it ends (PR_SET_PDEATHSIG in prctl(2)).
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t

from ..config.config cimport Config
from ..identity.replica cimport Replica
from ..os.atomic cimport atomic_publish_u32, atomic_swap_u32
from ..os.listener cimport listener_has_both, listener_refuse
from ..os.syscalls cimport (
    EFD_CLOEXEC, EFD_NONBLOCK, ENOMEM, MAP_PRIVATE, POLLIN, POLLOUT, SIGKILL, close, errno, eventfd, eventfd_signal,
    kill, map_memory, monotonic_ms, munmap, poll, pollfd
)
from ..shared.page_ring cimport page_ring_peek, page_ring_take
from ..shared.scoreboard cimport (
    PHASE_DRAINING, PHASE_SERVING, PHASE_STOPPING, scoreboard_close, scoreboard_has_pages, scoreboard_open,
    scoreboard_prepare_sleep
)
from .reap cimport HANG_TIMEOUT, supervisor_check_stopped, supervisor_on_worker_event
from .spawn cimport supervisor_respawn, supervisor_spawn
from .state cimport Supervisor, WorkerProcess

cdef extern from "option_table.h" nogil:
    enum:
        OPTION_DRAIN
        OPTION_WORKERS

cdef enum:
    STOP_TIMEOUT = 8000  # ms until workers that do not end are killed; Docker kills everything after 10 s
    STOP_TIMEOUT_AFTER_DRAIN = 3000  # ms of it that are left when draining is over
    LOG_INTERVAL = 50  # ms between two looks for pages while more and more are served


# ---- opening and closing ------------------------------------------------------------------------------------------

cdef inline int supervisor_open(Supervisor *supervisor, const Config *config, const Replica *replica, int listener,
                                int caller_fd) noexcept nogil:
    """Everything but the workers; 0 or -errno. In either case supervisor_close is due. `supervisor` is zeros before,
    but for `executable`; `config`, which is complete, and `replica` must stay."""
    cdef int workers = config.numbers[OPTION_WORKERS]
    cdef int i
    supervisor.config = config
    supervisor.wakeup_fd = -1
    supervisor.replica = replica
    supervisor.listener = listener
    supervisor.listener_has_both = listener_has_both(listener)
    supervisor.workers = workers
    supervisor.caller_fd = caller_fd
    supervisor.scoreboard = scoreboard_open(
        workers, &supervisor.executable.scoreboard_fd if supervisor.executable != NULL else NULL)
    if supervisor.executable != NULL and supervisor.executable.scoreboard_fd < 0:
        supervisor.executable = NULL
    supervisor.processes = <WorkerProcess *>map_memory(workers * sizeof(WorkerProcess), MAP_PRIVATE)
    supervisor.pollfds = <pollfd *>map_memory((workers + 2) * sizeof(pollfd), MAP_PRIVATE)
    if supervisor.scoreboard == NULL or supervisor.processes == NULL or supervisor.pollfds == NULL:
        return -ENOMEM
    for i in range(workers):
        supervisor.processes[i].lifeline = -1
    supervisor.wakeup_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    return 0 if supervisor.wakeup_fd >= 0 else -errno


cdef inline void supervisor_close(Supervisor *supervisor) noexcept nogil:
    """End whatever still runs, and give everything back but the listener."""
    supervisor_kill(supervisor)
    while supervisor.running:
        supervisor_wait(supervisor, -1, -1)
    if supervisor.wakeup_fd >= 0:
        close(supervisor.wakeup_fd)
    scoreboard_close(supervisor.scoreboard)
    if supervisor.processes != NULL:
        munmap(supervisor.processes, supervisor.workers * sizeof(WorkerProcess))
    if supervisor.pollfds != NULL:
        munmap(supervisor.pollfds, (supervisor.workers + 2) * sizeof(pollfd))
    supervisor.scoreboard = NULL
    supervisor.processes = NULL
    supervisor.pollfds = NULL
    supervisor.wakeup_fd = -1


cdef inline int supervisor_start(Supervisor *supervisor) noexcept nogil:
    """Fork all workers; 0 or -errno."""
    cdef int i, error
    for i in range(supervisor.workers):
        error = supervisor_spawn(supervisor, i)
        if error:
            return error
    return 0


# ---- waiting ------------------------------------------------------------------------------------------------------

cdef inline void supervisor_wait(Supervisor *supervisor, int log, int timeout_max) noexcept nogil:
    """Wait until the caller has something to do: pages or a death to log, `caller_fd` to read, the descriptor `log`
    (-1: none) to write; at most `timeout_max` ms (-1: no end). Deaths are noticed and workers restarted here."""
    cdef int timeout, count, i
    # Before it sleeps, not after: by now the caller has taken the SIGCHLD that may have come since the last look.
    supervisor_check_stopped(supervisor)
    timeout = supervisor_timeout(supervisor, timeout_max)
    supervisor_fill_pollfds(supervisor, log)
    if timeout and not supervisor.busy and not scoreboard_prepare_sleep(supervisor.scoreboard):
        timeout = 0
    count = poll(supervisor.pollfds, <unsigned long>supervisor.workers + 2, timeout)
    atomic_swap_u32(&supervisor.scoreboard.parent_sleeps, 0)
    supervisor.busy = scoreboard_has_pages(supervisor.scoreboard)
    supervisor.caller_ready = count > 0 and supervisor.pollfds[supervisor.workers].revents != 0
    for i in range(supervisor.workers if count > 0 else 0):
        if supervisor.pollfds[i].revents:
            supervisor_on_worker_event(supervisor, i)
    supervisor_respawn(supervisor)
    supervisor_check_deadlines(supervisor)


cdef inline void supervisor_fill_pollfds(Supervisor *supervisor, int log) noexcept nogil:
    """poll(2) ignores descriptors below 0."""
    cdef int i
    for i in range(supervisor.workers):
        pollfd_set(&supervisor.pollfds[i], supervisor.processes[i].lifeline, POLLIN)
    pollfd_set(&supervisor.pollfds[supervisor.workers], supervisor.caller_fd, POLLIN)
    pollfd_set(&supervisor.pollfds[supervisor.workers + 1], log, POLLOUT)


cdef inline void pollfd_set(pollfd *entry, int fd, short events) noexcept nogil:
    entry.fd = fd
    entry.events = events
    entry.revents = 0


cdef inline int supervisor_timeout(const Supervisor *supervisor, int timeout_max) noexcept nogil:
    """ms for poll(2), -1 for no end. While pages come, the parent looks every LOG_INTERVAL, and no worker need notify
    it."""
    cdef int64_t now = monotonic_ms()
    cdef int64_t until = now + timeout_max if timeout_max >= 0 else INT64_MAX
    cdef int i
    if supervisor.busy:
        until = min(until, now + LOG_INTERVAL)
    if supervisor.phase == PHASE_DRAINING:
        until = min(until, supervisor.drain_deadline)
    elif supervisor.phase == PHASE_STOPPING and supervisor.running:
        until = min(until, supervisor.stop_deadline)
    for i in range(supervisor.workers):
        if supervisor.processes[i].stopped_at:
            until = min(until, supervisor.processes[i].stopped_at + HANG_TIMEOUT)
        elif supervisor.processes[i].pid == 0 and supervisor.phase != PHASE_STOPPING:
            until = min(until, supervisor.processes[i].restart_at)
    if until == INT64_MAX:
        return -1
    return <int>(until - now) if until > now else 0


# ---- the pages that were served -----------------------------------------------------------------------------------

cdef inline uint64_t supervisor_take_pages(Supervisor *supervisor, int64_t *second) noexcept nogil:
    """The pages of the oldest second of which any are not taken yet, by all workers; 0 when there are none, for now."""
    cdef uint64_t count = 0
    cdef int64_t oldest = INT64_MAX
    cdef int64_t found = 0
    cdef int i
    for i in range(supervisor.workers):
        if page_ring_peek(&supervisor.scoreboard.slots[i].page_ring, &found):
            oldest = min(oldest, found)
    for i in range(supervisor.workers):
        if page_ring_peek(&supervisor.scoreboard.slots[i].page_ring, &found) and found == oldest:
            count += page_ring_take(&supervisor.scoreboard.slots[i].page_ring)
    second[0] = oldest
    return count


# ---- ending -------------------------------------------------------------------------------------------------------

cdef inline void supervisor_stop(Supervisor *supervisor) noexcept nogil:
    """Begin to drain: every response is the last one on its connection. When the time for that is over, no connection
    is accepted any more, and the workers end. Then call supervisor_wait until supervisor_is_over."""
    if supervisor.phase != PHASE_SERVING:
        return
    supervisor.drain_deadline = monotonic_ms() + supervisor.config.numbers[OPTION_DRAIN]
    supervisor.stop_deadline = monotonic_ms() + supervisor_stop_timeout(supervisor)
    supervisor_set_phase(supervisor, PHASE_DRAINING)
    supervisor_check_deadlines(supervisor)


cdef inline int supervisor_stop_timeout(const Supervisor *supervisor) noexcept nogil:
    """ms that stopping may take, until workers that do not end are killed."""
    return max(<int>STOP_TIMEOUT, supervisor.config.numbers[OPTION_DRAIN] + STOP_TIMEOUT_AFTER_DRAIN)


cdef inline bint supervisor_is_over(const Supervisor *supervisor) noexcept nogil:
    return supervisor.phase == PHASE_STOPPING and supervisor.running == 0


cdef inline void supervisor_set_phase(Supervisor *supervisor, int phase) noexcept nogil:
    supervisor.phase = phase
    atomic_publish_u32(&supervisor.scoreboard.phase, <uint32_t>phase)
    eventfd_signal(supervisor.wakeup_fd)


cdef inline void supervisor_check_deadlines(Supervisor *supervisor) noexcept nogil:
    if supervisor.phase == PHASE_DRAINING and monotonic_ms() >= supervisor.drain_deadline:
        if not supervisor.listener_is_shared:
            listener_refuse(supervisor.listener)
        supervisor_set_phase(supervisor, PHASE_STOPPING)
    if supervisor.phase == PHASE_STOPPING and supervisor.running and monotonic_ms() >= supervisor.stop_deadline:
        supervisor_kill(supervisor)


cdef inline void supervisor_kill(Supervisor *supervisor) noexcept nogil:
    """End all workers at once."""
    cdef int i
    supervisor.phase = PHASE_STOPPING
    for i in range(supervisor.workers if supervisor.processes != NULL else 0):
        if supervisor.processes[i].pid > 0:
            kill(supervisor.processes[i].pid, SIGKILL)
