"""The supervisor: the parent's side of its workers. It starts them, waits for what they report, drains and ends them.

The parent calls `supervisor_wait` again and again; in between it takes the pages that were served and writes the log.
The caller must be the thread that opened the supervisor, since the kernel ends a worker when the *thread* that forked
it ends (PR_SET_PDEATHSIG in prctl(2)).
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t

from ..config.config cimport Config
from ..identity.replica cimport Replica
from ..os.atomic cimport atomic_get_u64, atomic_set_u64
from ..os.handshakes cimport DEFERRED_END, handshakes_defer, handshakes_list, handshakes_wait
from ..os.listener cimport listener_address, listener_has_both, listener_is_open, listener_refuse, listener_revive
from ..os.syscalls cimport (
    CALL_ADDRESS, CALL_CLOSE, CALL_EVENT, CALL_READ, EFD_CLOEXEC, EFD_NONBLOCK, ENOMEM, MAP_PRIVATE, POLLIN, POLLOUT,
    close, errno, eventfd, map_memory, monotonic_ms, munmap, poll, pollfd, refusal_of, wall_second
)
from ..shared.scoreboard cimport (
    PHASE_DRAINING, PHASE_SERVING, PHASE_STOPPING, scoreboard_begin_sleep, scoreboard_end_sleep, scoreboard_open,
    readiness_number, scoreboard_is_unready, scoreboard_set_faults, scoreboard_set_faults_of_options,
    scoreboard_set_phase, scoreboard_set_ready_at, scoreboard_set_unready, slot_faults_asked_at, slot_ready_asked
)
from ..shared.fault_settings cimport FaultSettings, fault_settings_of
from .pages cimport supervisor_look, supervisor_note_wall
from .reap cimport (
    HANG_TIMEOUT, KILL_TIMEOUT, process_check_end_at, process_is_distrusted, process_wake, supervisor_check_workers,
    supervisor_restart_deadlines, supervisor_kill_worker, supervisor_on_worker_event
)
from .spawn cimport supervisor_respawn, supervisor_spawn, worker_may_restart
from .state cimport KILL_END, LISTENER_LOST, LISTENER_REVIVED, Supervisor, WorkerProcess

cdef extern from "option_table.h" nogil:
    enum:
        OPTION_CONTROL
        OPTION_READY_AFTER
        OPTION_DRAIN
        OPTION_WORKERS

cdef enum:
    STOP_TIMEOUT = 8000  # ms that stopping takes at most; Docker kills everything after 10 s
    STOP_TIMEOUT_AFTER_DRAIN = 3000  # ms of it that remain when draining is over
    LOG_INTERVAL = 50  # ms between two looks for pages while more and more are served
    STANDSTILL = 2000  # ms: if a turn is later than due by this, the process could not run
    LISTENER_RETRY = 100  # ms between two tries to have the listening socket listen again

cdef enum:  # the pollfds after those of the workers
    POLLFD_CALLER
    POLLFD_LOG
    POLLFD_LISTENER
    POLLFDS


# ---- opening and closing ------------------------------------------------------------------------------------------

cdef inline int supervisor_open(Supervisor *supervisor, const Config *config, const Replica *replica, int listener,
                                int caller_fd) noexcept nogil:
    """Open everything but the workers; 0 or -errno. Call supervisor_close in either case. The caller sets `supervisor`
    to zeros, except for `executable`. `config`, which is complete, and `replica` must stay valid."""
    cdef int workers = config.numbers[OPTION_WORKERS]
    cdef int i, error
    supervisor.config = config
    supervisor.wakeup_fd = -1
    supervisor.handshakes = -1
    supervisor.replica = replica
    supervisor.listener = listener
    supervisor.listener_has_both = listener_has_both(listener)
    supervisor.workers = workers
    supervisor.caller_fd = caller_fd
    supervisor.sleep = 1
    supervisor.turn_at = supervisor.due_at = monotonic_ms()
    supervisor.wall_at = supervisor.wall_first = supervisor.wall_last = wall_second()
    supervisor.processes = <WorkerProcess *>map_memory(workers * sizeof(WorkerProcess), MAP_PRIVATE)
    supervisor.pollfds = <pollfd *>map_memory((workers + POLLFDS) * sizeof(pollfd), MAP_PRIVATE)
    if (not scoreboard_open(&supervisor.scoreboard, workers,
                            &supervisor.executable.scoreboard_fd if supervisor.executable != NULL else NULL)
            or supervisor.processes == NULL or supervisor.pollfds == NULL):
        return -ENOMEM
    if supervisor.executable != NULL and supervisor.executable.scoreboard_fd < 0:
        supervisor.executable = NULL
    for i in range(workers):
        supervisor.processes[i].lifeline = -1
    error = listener_address(listener, &supervisor.address)
    if error:
        supervisor.failed_call = CALL_ADDRESS
        return error
    supervisor.handshakes = handshakes_list(&supervisor.address)
    supervisor.wakeup_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    if supervisor.wakeup_fd < 0:
        supervisor.failed_call = CALL_EVENT
        return -errno
    return 0


cdef inline void supervisor_close(Supervisor *supervisor) noexcept nogil:
    """End all workers that still run, and free everything but the listener, and the scoreboard, from which other
    threads may read the counts."""
    supervisor_kill(supervisor)
    supervisor.unready_logged = scoreboard_is_unready(&supervisor.scoreboard)  # nobody logs any more
    while supervisor.running:
        supervisor_wait(supervisor, -1, -1)
    if supervisor.wakeup_fd >= 0:
        close(supervisor.wakeup_fd)
    if supervisor.handshakes >= 0:
        close(supervisor.handshakes)
    if supervisor.processes != NULL:
        munmap(supervisor.processes, supervisor.workers * sizeof(WorkerProcess))
    if supervisor.pollfds != NULL:
        munmap(supervisor.pollfds, (supervisor.workers + POLLFDS) * sizeof(pollfd))
    supervisor.processes = NULL
    supervisor.pollfds = NULL
    supervisor.wakeup_fd = -1
    supervisor.handshakes = -1


cdef inline int supervisor_start(Supervisor *supervisor) noexcept nogil:
    """Fork all workers; 0 or -errno. Before, it tries the calls without which this process would not notice the end of
    a worker, wait, or be told to stop."""
    cdef FaultSettings faults
    cdef int i
    cdef int error = refusal_of(CALL_CLOSE, CALL_READ, &supervisor.failed_call)
    if error:
        return error
    fault_settings_of(&faults, supervisor.config)
    scoreboard_set_faults_of_options(&supervisor.scoreboard, &faults)
    scoreboard_set_ready_at(&supervisor.scoreboard, monotonic_ms() + supervisor.config.numbers[OPTION_READY_AFTER])
    for i in range(supervisor.workers):
        error = supervisor_spawn(supervisor, i)
        if error:
            return error
    return 0


# ---- waiting ------------------------------------------------------------------------------------------------------

cdef inline void supervisor_wait(Supervisor *supervisor, int log, int timeout_max) noexcept nogil:
    """Wait until the caller has something to do: pages or a death to log, `caller_fd` to read, the descriptor `log`
    (-1: none) to write; at most `timeout_max` ms (-1: no end). Deaths are noticed and workers restarted here."""
    cdef pollfd *others = &supervisor.pollfds[supervisor.workers]
    cdef int running = supervisor.running
    cdef int timeout = 0
    cdef int count, i
    supervisor_begin_turn(supervisor)
    # It checks before it sleeps, because the caller has already taken a SIGCHLD that came since the last check.
    supervisor_check_workers(supervisor)
    if (supervisor.busy or supervisor_begin_sleep(supervisor)) and supervisor.running == running:
        timeout = supervisor_timeout(supervisor, timeout_max)
    supervisor_fill_pollfds(supervisor, log)
    supervisor.due_at = monotonic_ms() + timeout if timeout >= 0 else INT64_MAX
    count = poll(supervisor.pollfds, <unsigned long>supervisor.workers + POLLFDS, timeout)
    scoreboard_end_sleep(&supervisor.scoreboard, supervisor.sleep)
    supervisor_begin_turn(supervisor)
    supervisor.busy = supervisor_look(supervisor)
    supervisor_take_commands(supervisor)
    supervisor.caller_ready = count > 0 and others[POLLFD_CALLER].revents != 0
    for i in range(supervisor.workers if count > 0 else 0):
        if supervisor.pollfds[i].revents and supervisor.processes[i].lifeline >= 0:
            supervisor_on_worker_event(supervisor, i)
    if count > 0 and others[POLLFD_LISTENER].revents:
        supervisor_check_listener(supervisor)
    supervisor_respawn(supervisor)
    supervisor_check_deadlines(supervisor)


cdef inline void supervisor_begin_turn(Supervisor *supervisor) noexcept nogil:
    cdef int64_t now = monotonic_ms()
    if supervisor.due_at != INT64_MAX and now > supervisor.due_at + STANDSTILL:
        supervisor_restart_deadlines(supervisor, now)
    supervisor.due_at = now
    supervisor_note_wall(supervisor, now)


cdef inline bint supervisor_begin_sleep(Supervisor *supervisor) noexcept nogil:
    """Have the workers notify this process of the next page, each once. False if there is something to log already."""
    cdef int i
    supervisor.sleep += 2
    for i in range(supervisor.workers):
        supervisor.processes[i].notifications_max += 1
    scoreboard_begin_sleep(&supervisor.scoreboard, supervisor.sleep)
    supervisor_take_commands(supervisor)
    return not supervisor_look(supervisor) and not supervisor_logs_readiness(supervisor)


cdef inline void supervisor_fill_pollfds(Supervisor *supervisor, int log) noexcept nogil:
    """poll(2) ignores descriptors below 0."""
    cdef pollfd *others = &supervisor.pollfds[supervisor.workers]
    cdef int i
    for i in range(supervisor.workers):
        pollfd_set(&supervisor.pollfds[i], supervisor.processes[i].lifeline, POLLIN)
    pollfd_set(&others[POLLFD_CALLER], supervisor.caller_fd, POLLIN)
    pollfd_set(&others[POLLFD_LOG], log, POLLOUT)
    # a listening socket is never writable; one that was shut down is, or has an error
    pollfd_set(&others[POLLFD_LISTENER], supervisor.listener if supervisor_watches_listener(supervisor) else -1,
               POLLOUT)


cdef inline void pollfd_set(pollfd *entry, int fd, short events) noexcept nogil:
    entry.fd = fd
    entry.events = events
    entry.revents = 0


cdef inline int supervisor_timeout(const Supervisor *supervisor, int timeout_max) noexcept nogil:
    """The timeout for poll(2) in ms, -1 for none. While pages come, the parent looks every LOG_INTERVAL, and no worker
    needs to notify it."""
    cdef int64_t now = monotonic_ms()
    cdef int64_t until = now + timeout_max if timeout_max >= 0 else INT64_MAX
    cdef const WorkerProcess *process
    cdef int i
    if supervisor.busy:
        until = min(until, now + LOG_INTERVAL)
    if supervisor.phase == PHASE_DRAINING:
        until = min(until, supervisor.drain_deadline)
    elif supervisor.phase == PHASE_STOPPING and supervisor.running and not supervisor.all_killed:
        until = min(until, supervisor.stop_deadline - KILL_TIMEOUT)
    if supervisor.phase != PHASE_STOPPING and not supervisor_watches_listener(supervisor):
        until = min(until, supervisor.listener_checked_at + LISTENER_RETRY)
    for i in range(supervisor.workers):
        process = &supervisor.processes[i]
        if process.pid == 0:
            if supervisor.phase != PHASE_STOPPING and worker_may_restart(supervisor, i):
                until = min(until, process.restart_at)
        elif process.killed_at or process.hung_up_at:
            until = min(until, process_check_end_at(process, now))
        elif process.stopped_at:
            until = min(until, process.stopped_at + HANG_TIMEOUT)
        elif process.probed_at:
            until = min(until, process.probed_at + HANG_TIMEOUT)
    if until == INT64_MAX:
        return -1
    return <int>(until - now) if until > now else 0


# ---- readiness ----------------------------------------------------------------------------------------------------

cdef inline void supervisor_set_ready(Supervisor *supervisor, bint ready) noexcept nogil:
    """Have /readyz answer 503, or 200 again, from the next turn on. From any thread."""
    atomic_set_u64(&supervisor.ready_asked, readiness_number(ready))


cdef inline void supervisor_take_commands(Supervisor *supervisor) noexcept nogil:
    """Do what a signal has asked for, or a client, if --control allows it: the latest request counts. One from the
    future is not from a worker that can be trusted."""
    cdef uint64_t asked = atomic_get_u64(&supervisor.ready_asked)
    cdef uint64_t at
    cdef FaultSettings faults
    cdef int i
    for i in range(supervisor.workers if supervisor.config.numbers[OPTION_CONTROL] else 0):
        if process_is_distrusted(&supervisor.processes[i]):
            continue
        asked = max(asked, slot_ready_asked(&supervisor.scoreboard, <uint32_t>i))
        at = slot_faults_asked_at(&supervisor.scoreboard, <uint32_t>i, &faults)
        if at > supervisor.faults_decided:
            supervisor.faults_decided = at
            scoreboard_set_faults(&supervisor.scoreboard, &faults)
    if asked > supervisor.ready_decided:
        supervisor.ready_decided = asked
        scoreboard_set_unready(&supervisor.scoreboard, not asked & 1)


cdef inline bint supervisor_logs_readiness(const Supervisor *supervisor) noexcept nogil:
    """Whether the log does not say yet how it is."""
    return scoreboard_is_unready(&supervisor.scoreboard) != supervisor.unready_logged


# ---- the listening socket -----------------------------------------------------------------------------------------

cdef inline bint supervisor_watches_listener(const Supervisor *supervisor) noexcept nogil:
    """Whether to watch the listener: not while the server ends, and not for a moment after the listener was shut
    down."""
    if supervisor.phase == PHASE_STOPPING:
        return False
    return supervisor.listener_checked_at == 0 or monotonic_ms() >= supervisor.listener_checked_at + LISTENER_RETRY


cdef inline void supervisor_check_listener(Supervisor *supervisor) noexcept nogil:
    """Make a listening socket that was shut down listen again; the workers go on with it. They share the socket, so an
    attacker in one of them may shut it down."""
    cdef int error
    supervisor.listener_checked_at = monotonic_ms()
    if listener_is_open(supervisor.listener):
        return
    error = -listener_revive(supervisor.listener, &supervisor.address)
    if error == 0 or error != supervisor.listener_error:
        supervisor.listener_event = LISTENER_LOST if error else LISTENER_REVIVED
    supervisor.listener_error = error


# ---- ending -------------------------------------------------------------------------------------------------------

cdef inline void supervisor_stop(Supervisor *supervisor) noexcept nogil:
    """Begin to drain: every response is the last one on its connection. When that time is over, no connection is
    accepted any more, and the workers end. Call supervisor_wait until supervisor_is_over. While the kernel holds back
    silent clients, draining takes DEFERRED_END at least: closing the listener would reset them."""
    cdef int drain = supervisor_drain(supervisor)
    if supervisor.phase != PHASE_SERVING:
        return
    supervisor_set_phase(supervisor, PHASE_DRAINING)
    if not supervisor.listener_is_shared:
        handshakes_defer(supervisor.listener, False)
        if drain < DEFERRED_END and handshakes_wait(supervisor.handshakes, &supervisor.address):
            drain = DEFERRED_END
    supervisor.drain_deadline = monotonic_ms() + drain
    supervisor.stop_deadline = monotonic_ms() + supervisor_stop_timeout(supervisor)
    supervisor_check_deadlines(supervisor)


cdef inline int supervisor_stop_timeout(const Supervisor *supervisor) noexcept nogil:
    """The ms that stopping may take, including the end of workers that have to be killed."""
    return max(<int>STOP_TIMEOUT, supervisor_drain(supervisor) + STOP_TIMEOUT_AFTER_DRAIN)


cdef inline int supervisor_drain(const Supervisor *supervisor) noexcept nogil:
    """The ms in which connections are accepted once it is told to stop."""
    return 0 if supervisor.skips_drain else supervisor.config.numbers[OPTION_DRAIN]


cdef inline void supervisor_skip_drain(Supervisor *supervisor) noexcept nogil:
    """Whoever is about to tell it to stop waits for it, so no balancer has to notice first."""
    supervisor.skips_drain = True


cdef inline bint supervisor_is_over(const Supervisor *supervisor) noexcept nogil:
    return supervisor.phase == PHASE_STOPPING and supervisor.running == 0


cdef inline bint supervisor_has_failed(const Supervisor *supervisor) noexcept nogil:
    """Whether none of the workers could begin to serve."""
    cdef int i
    if supervisor.running or supervisor.phase == PHASE_STOPPING:
        return False
    for i in range(supervisor.workers):
        if worker_may_restart(supervisor, i):
            return False
    return True


cdef inline void supervisor_set_phase(Supervisor *supervisor, int phase) noexcept nogil:
    """Set the phase, and wake the workers by their lifelines. The eventfd is not used: any worker can raise it to its
    limit."""
    cdef int i
    supervisor.phase = phase
    scoreboard_set_phase(&supervisor.scoreboard, <uint32_t>phase)
    for i in range(supervisor.workers):
        if supervisor.processes[i].lifeline >= 0:
            process_wake(&supervisor.processes[i])


cdef inline void supervisor_check_deadlines(Supervisor *supervisor) noexcept nogil:
    if supervisor.phase == PHASE_DRAINING and monotonic_ms() >= supervisor.drain_deadline:
        if not supervisor.listener_is_shared:
            listener_refuse(supervisor.listener)
        supervisor_set_phase(supervisor, PHASE_STOPPING)
    if (supervisor.phase == PHASE_STOPPING and supervisor.running
            and monotonic_ms() >= supervisor.stop_deadline - KILL_TIMEOUT):
        supervisor_kill(supervisor)


cdef inline void supervisor_kill(Supervisor *supervisor) noexcept nogil:
    """End all workers at once."""
    cdef int i
    supervisor.phase = PHASE_STOPPING
    supervisor.all_killed = True
    for i in range(supervisor.workers if supervisor.processes != NULL else 0):
        supervisor_kill_worker(supervisor, i, KILL_END)
