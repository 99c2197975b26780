"""Starting worker processes: the fork, the descriptors that a worker keeps, and the time of a restart."""

from libc.stdint cimport int64_t, uint32_t

from ..os.descriptors cimport close_all_except
from ..os.handshakes cimport handshakes_defer
from ..os.syscalls cimport (
    AF_UNIX, CALL_FORK, CALL_PAIR, PR_SET_PDEATHSIG, SIGKILL, SIG_SETMASK, SOCK_CLOEXEC, SOCK_STREAM, close, errno,
    fork, getpid, getppid, monotonic_ms, pid_t, prctl, pthread_sigmask, sigfillset, sigset_t, socketpair, _exit
)
from ..shared.scoreboard cimport PHASE_SERVING, PHASE_STOPPING, scoreboard_prepare_slot, scoreboard_set_ready
from ..worker.loop cimport worker_run
from .executable cimport executable_run
from .state cimport KILL_NONE, Executable, Supervisor, WorkerProcess

cdef extern from "stack_canary.h" nogil:
    void stack_canary_renew()

cdef enum:
    SHORT_LIFE = 1000  # ms: after a shorter life, a worker is restarted with a delay
    RESTART_DELAY_MIN = 100  # ms, doubled with every short life in a row
    RESTART_DELAY_MAX = 10000
    WORKER_FDS = 5  # number of the parent's descriptors that a worker needs


cdef inline int supervisor_spawn(Supervisor *supervisor, int slot) noexcept nogil:
    """Fork one worker; 0 or -errno."""
    cdef WorkerProcess *process = &supervisor.processes[slot]
    cdef int ends[2]
    cdef sigset_t all_signals, before
    cdef pid_t parent = getpid()
    cdef pid_t pid
    cdef int error
    if socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0:
        supervisor.failed_call = CALL_PAIR
        return -errno
    # A worker keeps every signal blocked. Signals to the whole process group, such as Ctrl-C, are for the parent, and
    # no handler of the parent may ever run in a worker. worker/loop.pxd unblocks SIGPROF only.
    sigfillset(&all_signals)
    pthread_sigmask(SIG_SETMASK, &all_signals, &before)
    scoreboard_prepare_slot(&supervisor.scoreboard, <uint32_t>slot)
    pid = fork()
    if pid == 0:
        stack_canary_renew()
        _exit(run_worker(supervisor, slot, ends[1], parent))
    error = errno
    pthread_sigmask(SIG_SETMASK, &before, NULL)
    close(ends[1])
    if pid < 0:
        close(ends[0])
        supervisor.failed_call = CALL_FORK
        return -error
    process.pid = pid
    process.lifeline = ends[0]
    process.started_at = process.turns_at = monotonic_ms()
    process.is_up = False
    process.stopped_at = process.hung_up_at = process.killed_at = process.probed_at = process.doubted_at = 0
    process.kill_reason = KILL_NONE
    process.notifications = 0
    process.notifications_max = 1  # the one that says that it is up
    # after a short life, a worker counts as ready only once it has lived longer
    scoreboard_set_ready(&supervisor.scoreboard, <uint32_t>slot,
                         process.started_at + (SHORT_LIFE if process.short_lives else 0))
    supervisor.running += 1
    return 0


cdef inline void supervisor_respawn(Supervisor *supervisor) noexcept nogil:
    """Restart the workers whose time has come."""
    cdef WorkerProcess *process
    cdef int64_t now
    cdef int i, error
    if supervisor.running == supervisor.workers:
        return
    now = monotonic_ms()
    for i in range(supervisor.workers):
        process = &supervisor.processes[i]
        if not worker_is_due(supervisor, i, now):
            continue
        if supervisor.phase == PHASE_SERVING:  # whoever took the one before over may have held clients back for long
            handshakes_defer(supervisor.listener, True)
        error = supervisor_spawn(supervisor, i)
        if error:
            process.dead_status = error
            process.dead_pid = -1
            schedule_restart(process, True, now)


cdef inline bint worker_is_due(const Supervisor *supervisor, int slot, int64_t now) noexcept nogil:
    """Whether a worker is to be restarted now."""
    cdef const WorkerProcess *process = &supervisor.processes[slot]
    if process.pid or process.restart_at > now or supervisor.phase == PHASE_STOPPING:
        return False
    return worker_may_restart(supervisor, slot)


cdef inline bint worker_may_restart(const Supervisor *supervisor, int slot) noexcept nogil:
    """A worker that could not begin to serve is restarted only once another one could: most often, none can."""
    return supervisor.has_been_up or not supervisor.processes[slot].failed_start


cdef inline void schedule_restart(WorkerProcess *process, bint short_life, int64_t now) noexcept nogil:
    """Restart at once after a long life and after the first short one; after further short ones, later each time."""
    process.restart_at = now
    if not short_life:
        process.short_lives = 0
        return
    if process.short_lives:
        process.restart_at += min(RESTART_DELAY_MIN << min(process.short_lives - 1, 16), RESTART_DELAY_MAX)
    process.short_lives += 1


# ---- in the child -------------------------------------------------------------------------------------------------

cdef inline int run_worker(Supervisor *supervisor, int slot, int lifeline, pid_t parent) noexcept nogil:
    """Serve, and return the exit code of the child."""
    cdef Executable *executable = supervisor.executable
    cdef int kept[WORKER_FDS]
    cdef bint alone
    prctl(PR_SET_PDEATHSIG, SIGKILL)
    if getppid() != parent:
        return 0
    close_lifelines(supervisor)
    kept[0] = supervisor.listener
    kept[1] = lifeline
    kept[2] = supervisor.wakeup_fd
    kept[3] = executable.fd if executable != NULL else -1
    kept[4] = executable.scoreboard_fd if executable != NULL else -1
    alone = close_all_except(kept, WORKER_FDS)
    if executable != NULL:
        executable_run(executable, slot, supervisor.listener, supervisor.listener_is_shared, lifeline,
                       supervisor.wakeup_fd, alone)
        close(executable.fd)  # the execution was refused, so this copy of the parent serves
        close(executable.scoreboard_fd)
    return worker_run(&supervisor.scoreboard, slot, supervisor.config, supervisor.replica, supervisor.listener,
                      supervisor.listener_is_shared, lifeline, supervisor.wakeup_fd, alone)


cdef inline void close_lifelines(const Supervisor *supervisor) noexcept nogil:
    """Close the copies of all lifelines, even if close_all_except fails: a lifeline hangs up when its last copy is
    closed."""
    cdef int i
    for i in range(supervisor.workers):
        if supervisor.processes[i].lifeline >= 0:
            close(supervisor.processes[i].lifeline)
