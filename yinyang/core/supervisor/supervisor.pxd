"""The supervisor: the parent's side of its workers. It forks them, watches them, restarts them, drains and ends them.

The parent calls `supervisor_wait` again and again; in between it takes what was served and writes the log. The caller
must be the thread that opened the supervisor, since the kernel ends a worker when the *thread* that forked it ends
(PR_SET_PDEATHSIG in prctl(2)).
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t

from ..identity.replica cimport Replica
from ..os.atomic cimport atomic_get_u64, atomic_publish_u32, atomic_set_i64, atomic_swap_u32
from ..os.listener cimport listener_refuse
from ..os.sandbox cimport SANDBOX_OFF, sandbox_message
from ..os.syscalls cimport (
    AF_UNIX, CLD_STOPPED, EAGAIN, EFD_CLOEXEC, EFD_NONBLOCK, EINTR, ENOMEM, MAP_PRIVATE, MSG_DONTWAIT, POLLIN,
    POLLOUT, PR_SET_NAME, PR_SET_PDEATHSIG, P_ALL, P_PID, SIGKILL, SIGPROF, SIG_SETMASK, SOCK_CLOEXEC, SOCK_STREAM,
    SYS_close_range, WCONTINUED, WEXITED, WEXITSTATUS, WIFSIGNALED, WNOHANG, WNOWAIT, WSTOPPED, WTERMSIG, close,
    dup, errno, eventfd, eventfd_signal, fork, getpid, getppid, kill, map_memory, monotonic_ms, munmap, pid_t, poll,
    pollfd, prctl, pthread_sigmask, recv, sigfillset, siginfo_t, sigset_t, socketpair, syscall, waitid, waitpid,
    _exit
)
from ..shared.page_ring cimport page_ring_take
from ..shared.scoreboard cimport (
    GUARD_ENTERED, PHASE_DRAINING, PHASE_SERVING, PHASE_STOPPING, Scoreboard, scoreboard_close,
    scoreboard_has_pages, scoreboard_open, scoreboard_prepare_sleep
)
from ..text.buffer cimport Text, llu, text_format, text_string, text_system_error
from ..worker.loop cimport worker_run
from ..worker.timers cimport Limits

cdef enum:
    STOP_TIMEOUT = 8000  # ms until workers that do not end are killed; Docker kills everything after 10 s
    STOP_TIMEOUT_AFTER_DRAIN = 3000  # ms of it that are left when draining is over
    HANG_TIMEOUT = 5000  # ms until a worker that was stopped, and not continued, is replaced
    LOG_INTERVAL = 50  # ms between two looks at what was served, while more and more is
    SHORT_LIFE = 1000  # ms: who lives shorter is restarted after a pause
    RESTART_DELAY_MIN = 100  # ms, doubled with every quick death in a row
    RESTART_DELAY_MAX = 10000

cdef enum WakeReason:  # why supervisor_wait returned: a set
    WOKEN_BY_CALLER = 1
    WOKEN_BY_LOG = 2

cdef struct WorkerProcess:
    pid_t pid  # 0: not running
    int lifeline
    int64_t started_at  # ms
    int64_t restart_at  # ms: when to start it again
    int short_lives  # in a row
    int64_t stopped_at  # ms: since when; 0: it is not
    bint killed_as_hung  # it was killed for that
    pid_t dead_pid  # of a death that is to be told
    int dead_status  # as of waitpid(2), or -errno of a fork(2) that failed

cdef struct Supervisor:
    Scoreboard *scoreboard
    const Replica *replica
    WorkerProcess *processes
    pollfd *pollfds  # members, then the waker, then the log
    int workers
    int running
    int listener
    int wakeup_fd
    int caller_fd  # the caller's: supervisor_wait returns when it can be read
    bint log_pages
    Limits limits
    int drain  # ms
    int sandbox  # one of Sandbox
    int guards  # of the sandbox, that hold for this process
    bint sandbox_logged
    bint busy  # pages came since the last look
    int phase
    int64_t drain_deadline  # ms
    int64_t stop_deadline  # ms


# ---- opening and closing ------------------------------------------------------------------------------------------

cdef inline int supervisor_open(Supervisor *supervisor, const Replica *replica, int listener, int workers,
                                bint log_pages, int caller_fd) noexcept nogil:
    """Everything but the workers; 0 or -errno. In either case supervisor_close is due. `supervisor` is zeros before,
    but for its limits, `drain` and `sandbox`; `replica` must stay, and `workers` is 1 or more."""
    cdef int i
    supervisor.wakeup_fd = -1
    supervisor.replica = replica
    supervisor.listener = listener
    supervisor.workers = workers
    supervisor.log_pages = log_pages
    supervisor.caller_fd = caller_fd
    supervisor.scoreboard = scoreboard_open(workers)
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


cdef inline int supervisor_spawn(Supervisor *supervisor, int slot) noexcept nogil:
    """Fork one worker; 0 or -errno."""
    cdef WorkerProcess *process = &supervisor.processes[slot]
    cdef int ends[2]
    cdef sigset_t all_signals, before
    cdef pid_t parent = getpid()
    cdef pid_t pid
    cdef int error
    if socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0:
        return -errno
    # A worker keeps every signal blocked: those meant for the whole group, such as Ctrl-C, are for the parent, and no
    # handler of the parent's may ever run in a worker. Only SIGPROF is let through, in worker/loop.pxd.
    sigfillset(&all_signals)
    pthread_sigmask(SIG_SETMASK, &all_signals, &before)
    supervisor.scoreboard.slots[slot].open = 0
    pid = fork()
    if pid == 0:
        _exit(supervisor_run_worker(supervisor, slot, ends[1], parent))
    error = errno
    pthread_sigmask(SIG_SETMASK, &before, NULL)
    close(ends[1])
    if pid < 0:
        close(ends[0])
        return -error
    process.pid = pid
    process.lifeline = ends[0]
    process.started_at = monotonic_ms()
    process.stopped_at = 0
    # who has just died young is not relied on until it has lived for longer
    atomic_set_i64(&supervisor.scoreboard.slots[slot].ready_from,
                   process.started_at + (SHORT_LIFE if process.short_lives else 0))
    supervisor.running += 1
    return 0


cdef inline int supervisor_run_worker(Supervisor *supervisor, int slot, int lifeline, pid_t parent) noexcept nogil:
    """What the child does; its exit code. It keeps the standard descriptors, and closes all others of the program that
    it was forked from."""
    cdef int keep_alive[3]
    prctl(PR_SET_PDEATHSIG, SIGKILL)
    if getppid() != parent:
        return 0
    prctl(PR_SET_NAME, <unsigned long><const char *>"yinyang-worker")
    supervisor_close_lifelines(supervisor)
    fill_standard_descriptors(lifeline)
    keep_alive[0] = supervisor.listener
    keep_alive[1] = lifeline
    keep_alive[2] = supervisor.wakeup_fd
    close_all_except(keep_alive)
    return worker_run(supervisor.scoreboard, slot, supervisor.replica, supervisor.log_pages, &supervisor.limits,
                      supervisor.sandbox, supervisor.listener, lifeline, supervisor.wakeup_fd)


cdef inline void supervisor_close_lifelines(Supervisor *supervisor) noexcept nogil:
    """A lifeline hangs up when its last holder closes it; so where close_range(2) is refused, at least these go."""
    cdef int i
    for i in range(supervisor.workers):
        if supervisor.processes[i].lifeline >= 0:
            close(supervisor.processes[i].lifeline)


cdef inline void fill_standard_descriptors(int fd) noexcept nogil:
    """A program may have been started without stdin, stdout or stderr; no connection may become one of them."""
    cdef int copy = dup(fd)
    while 0 <= copy < 3:
        copy = dup(fd)
    if copy >= 0:
        close(copy)


cdef inline void close_all_except(int *keep_alive) noexcept nogil:
    """Close what is not among three descriptors, nor below 3."""
    cdef int i, j, fd
    cdef unsigned int begin = 3
    for i in range(3):
        for j in range(2 - i):
            if keep_alive[j] > keep_alive[j + 1]:
                fd = keep_alive[j]
                keep_alive[j] = keep_alive[j + 1]
                keep_alive[j + 1] = fd
    for i in range(3):
        if keep_alive[i] >= <int>begin:
            if keep_alive[i] > <int>begin:
                syscall(SYS_close_range, begin, <unsigned int>keep_alive[i] - 1, 0)
            begin = <unsigned int>keep_alive[i] + 1
    syscall(SYS_close_range, begin, ~<unsigned int>0, 0)


# ---- watching -----------------------------------------------------------------------------------------------------

cdef inline int supervisor_wait(Supervisor *supervisor, int log, int timeout_max) noexcept nogil:
    """Wait until there is something for the caller to do: pages to log, a death to tell, something on the waker, `log`
    ready to be written (-1: not asked); but not longer than `most` ms (-1: no end). Deaths are seen and workers
    restarted here. A set of Woken."""
    cdef int timeout = supervisor_timeout(supervisor, timeout_max)
    cdef int count = supervisor_fill_pollfds(supervisor, log)
    cdef int woken = 0
    cdef int i
    if timeout and not supervisor.busy and not scoreboard_prepare_sleep(supervisor.scoreboard):
        timeout = 0
    count = poll(supervisor.pollfds, <unsigned long>count, timeout)
    atomic_swap_u32(&supervisor.scoreboard.parent_sleeps, 0)
    if count > 0:
        for i in range(supervisor.workers):
            if supervisor.pollfds[i].revents:
                supervisor_on_worker_event(supervisor, i)
        if supervisor.pollfds[supervisor.workers].revents:
            woken |= WOKEN_BY_CALLER
        if supervisor.pollfds[supervisor.workers + 1].revents:
            woken |= WOKEN_BY_LOG
    supervisor_check_stopped(supervisor)
    supervisor_respawn(supervisor)
    supervisor_check_deadlines(supervisor)
    return woken


cdef inline int supervisor_fill_pollfds(Supervisor *supervisor, int log) noexcept nogil:
    """What poll(2) is to watch; how many that are. It passes over descriptors below 0."""
    cdef int i
    for i in range(supervisor.workers):
        supervisor.pollfds[i].fd = supervisor.processes[i].lifeline
        supervisor.pollfds[i].events = POLLIN
        supervisor.pollfds[i].revents = 0
    supervisor.pollfds[supervisor.workers].fd = supervisor.caller_fd
    supervisor.pollfds[supervisor.workers].events = POLLIN
    supervisor.pollfds[supervisor.workers].revents = 0
    supervisor.pollfds[supervisor.workers + 1].fd = log
    supervisor.pollfds[supervisor.workers + 1].events = POLLOUT
    supervisor.pollfds[supervisor.workers + 1].revents = 0
    return supervisor.workers + 2


cdef inline int supervisor_timeout(Supervisor *supervisor, int timeout_max) noexcept nogil:
    """ms for poll(2), -1 for no end. While pages come, the parent looks at times instead of being rung for each."""
    cdef int64_t now = monotonic_ms()
    cdef int64_t until = now + timeout_max if timeout_max >= 0 else -1
    cdef int i
    if supervisor.busy:
        until = earlier(until, now + LOG_INTERVAL)
    if supervisor.phase == PHASE_DRAINING:
        until = earlier(until, supervisor.drain_deadline)
    elif supervisor.phase == PHASE_STOPPING and supervisor.running:
        until = earlier(until, supervisor.stop_deadline)
    for i in range(supervisor.workers):
        if supervisor.processes[i].stopped_at:
            until = earlier(until, supervisor.processes[i].stopped_at + HANG_TIMEOUT)
        elif supervisor.processes[i].pid == 0 and supervisor.phase != PHASE_STOPPING:
            until = earlier(until, supervisor.processes[i].restart_at)
    if until < 0:
        return -1
    return <int>(until - now) if until > now else 0


cdef inline int64_t earlier(int64_t until, int64_t moment) noexcept nogil:
    return moment if until < 0 or moment < until else until


cdef inline void supervisor_on_worker_event(Supervisor *supervisor, int slot) noexcept nogil:
    """A worker has rung, or is dead."""
    cdef char byte = 0
    cdef ssize_t size = recv(supervisor.processes[slot].lifeline, &byte, 1, MSG_DONTWAIT)
    if size == 0 or size < 0 and errno != EAGAIN and errno != EINTR:
        supervisor_reap(supervisor, slot)


cdef inline void supervisor_reap(Supervisor *supervisor, int slot) noexcept nogil:
    """Wait for a worker that is dead, or about to be, and plan for the next."""
    cdef WorkerProcess *process = &supervisor.processes[slot]
    cdef int64_t now
    while waitpid(process.pid, &process.dead_status, 0) < 0 and errno == EINTR:
        pass
    now = monotonic_ms()
    close(process.lifeline)
    process.lifeline = -1
    process.dead_pid = 0 if supervisor_expects(supervisor, process.dead_status) else process.pid
    process.pid = 0
    supervisor.running -= 1
    supervisor.scoreboard.slots[slot].open = 0
    atomic_set_i64(&supervisor.scoreboard.slots[slot].ready_from, INT64_MAX)
    schedule_restart(process, now - process.started_at < SHORT_LIFE, now)


cdef inline void supervisor_check_stopped(Supervisor *supervisor) noexcept nogil:
    """A worker that somebody has stopped is given some time to be continued, and then replaced. Time in which this
    process was stopped too does not count."""
    cdef siginfo_t info
    cdef WorkerProcess *process
    cdef int64_t now = monotonic_ms()
    cdef int i
    for i in range(supervisor.workers):
        process = &supervisor.processes[i]
        info.si_pid = 0
        while process.pid and waitid(P_PID, <unsigned int>process.pid, &info, WSTOPPED | WCONTINUED | WNOHANG) == 0:
            if info.si_pid == 0:
                break
            process.stopped_at = now if info.si_code == CLD_STOPPED else 0
            atomic_set_i64(&supervisor.scoreboard.slots[i].ready_from, INT64_MAX if process.stopped_at else now)
            info.si_pid = 0
        if process.stopped_at and now >= process.stopped_at + HANG_TIMEOUT:
            if now >= process.stopped_at + 2 * HANG_TIMEOUT:
                process.stopped_at = now
            else:
                process.stopped_at = 0
                process.killed_as_hung = True
                kill(process.pid, SIGKILL)


cdef inline void supervisor_reap_orphans(Supervisor *supervisor) noexcept nogil:
    """Wait for dead children that are not workers. The first process of a container inherits such; any other program
    must not call this, since its other children are its own business."""
    cdef siginfo_t info
    cdef int slot
    while True:
        info.si_pid = 0
        if waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 or info.si_pid == 0:
            return
        slot = supervisor_slot_of(supervisor, info.si_pid)
        if slot < 0:
            waitpid(info.si_pid, NULL, 0)
        else:
            supervisor_reap(supervisor, slot)


cdef inline int supervisor_slot_of(const Supervisor *supervisor, pid_t pid) noexcept nogil:
    """-1 if it is no worker."""
    cdef int slot
    for slot in range(supervisor.workers):
        if supervisor.processes[slot].pid == pid:
            return slot
    return -1


cdef inline bint supervisor_expects(const Supervisor *supervisor, int status) noexcept nogil:
    """Is this how a worker ends that was told to, or was killed for not doing so?"""
    return supervisor.phase == PHASE_STOPPING and (status == 0 or WIFSIGNALED(status) and WTERMSIG(status) == SIGKILL)


cdef inline void schedule_restart(WorkerProcess *process, bint quick, int64_t now) noexcept nogil:
    """When to start it again: at once, unless it has just been started; then later with every time."""
    process.restart_at = now
    if not quick:
        process.short_lives = 0
        return
    if process.short_lives:
        process.restart_at += min(RESTART_DELAY_MIN << min(process.short_lives - 1, 16), RESTART_DELAY_MAX)
    process.short_lives += 1


cdef inline void supervisor_respawn(Supervisor *supervisor) noexcept nogil:
    cdef int64_t now
    cdef int i, error
    if supervisor.running == supervisor.workers or supervisor.phase == PHASE_STOPPING:
        return
    now = monotonic_ms()
    for i in range(supervisor.workers):
        if supervisor.processes[i].pid == 0 and supervisor.processes[i].restart_at <= now:
            error = supervisor_spawn(supervisor, i)
            if error:
                supervisor.processes[i].dead_status = error
                supervisor.processes[i].dead_pid = -1
                schedule_restart(&supervisor.processes[i], True, now)


cdef inline bint supervisor_death_message(Supervisor *supervisor, Text *text) noexcept nogil:
    """Put the words about a death that was not told yet into the text; False if there is none."""
    cdef WorkerProcess *process
    cdef int i
    for i in range(supervisor.workers):
        process = &supervisor.processes[i]
        if process.dead_pid:
            death_message(text, i, process)
            if supervisor.phase != PHASE_STOPPING:
                restart_message(text, process)
            process.dead_pid = 0
            process.killed_as_hung = False
            return True
    return False


cdef inline void death_message(Text *text, int slot, const WorkerProcess *process) noexcept nogil:
    text_format(text, "Worker %llu", <llu>slot + 1)
    if process.dead_pid < 0:
        text_string(text, " could not be started: ")
        text_system_error(text, -process.dead_status)
        return
    text_format(text, " (pid %llu", <llu>process.dead_pid)
    if process.killed_as_hung:
        text_string(text, ") did nothing for too long")
    elif WIFSIGNALED(process.dead_status) and WTERMSIG(process.dead_status) == SIGPROF:
        text_string(text, ") was stuck")
    elif WIFSIGNALED(process.dead_status):
        text_format(text, ") was killed by signal %llu", <llu>WTERMSIG(process.dead_status))
    elif WEXITSTATUS(process.dead_status):
        text_string(text, ") could not go on: ")
        text_system_error(text, WEXITSTATUS(process.dead_status))
    else:
        text_string(text, ") ended")


cdef inline void restart_message(Text *text, const WorkerProcess *process) noexcept nogil:
    if process.pid:
        text_format(text, ", restarted as pid %llu", <llu>process.pid)
    else:
        text_string(text, ", will be restarted")
        if process.short_lives > 1:
            text_string(text, " after a pause")


cdef inline bint supervisor_sandbox_message(Supervisor *supervisor, Text *text) noexcept nogil:
    """Put the words about the sandbox into the text, when all workers have entered it; False before, and from then
    on."""
    cdef int guards = -1
    cdef int i
    if supervisor.sandbox == SANDBOX_OFF or supervisor.sandbox_logged:
        return False
    for i in range(supervisor.workers):
        guards &= <int>atomic_get_u64(&supervisor.scoreboard.slots[i].guards)
    if not guards & GUARD_ENTERED:
        return False
    sandbox_message(text, supervisor.guards, guards & ~GUARD_ENTERED)
    supervisor.sandbox_logged = True
    return True


# ---- what was served ----------------------------------------------------------------------------------------------

cdef inline uint64_t supervisor_take_pages(Supervisor *supervisor, int64_t *second) noexcept nogil:
    """Pages that were served in some second and not taken yet; 0 when there are none left, for now."""
    cdef uint64_t count
    cdef int i
    for i in range(supervisor.workers):
        count = page_ring_take(&supervisor.scoreboard.slots[i].page_ring, second)
        if count:
            return count
    return 0


cdef inline bint supervisor_has_pages(Supervisor *supervisor) noexcept nogil:
    """Did pages come since the last look? It also sets the pace of supervisor_wait."""
    supervisor.busy = scoreboard_has_pages(supervisor.scoreboard)
    return supervisor.busy


# ---- ending -------------------------------------------------------------------------------------------------------

cdef inline void supervisor_stop(Supervisor *supervisor) noexcept nogil:
    """Begin to drain: every answer is the last one on its connection. When the time for that is over, no more
    connections come, and the workers end. Then supervisor_wait, until supervisor_is_over."""
    if supervisor.phase != PHASE_SERVING:
        return
    supervisor.drain_deadline = monotonic_ms() + supervisor.drain
    supervisor.stop_deadline = monotonic_ms() + supervisor_patience(supervisor)
    supervisor_set_phase(supervisor, PHASE_DRAINING)
    supervisor_check_deadlines(supervisor)


cdef inline int supervisor_patience(const Supervisor *supervisor) noexcept nogil:
    """ms that the end may take."""
    return max(<int>STOP_TIMEOUT, supervisor.drain + STOP_TIMEOUT_AFTER_DRAIN)


cdef inline bint supervisor_is_over(const Supervisor *supervisor) noexcept nogil:
    return supervisor.phase == PHASE_STOPPING and supervisor.running == 0


cdef inline void supervisor_set_phase(Supervisor *supervisor, int phase) noexcept nogil:
    supervisor.phase = phase
    atomic_publish_u32(&supervisor.scoreboard.phase, <uint32_t>phase)
    eventfd_signal(supervisor.wakeup_fd)


cdef inline void supervisor_check_deadlines(Supervisor *supervisor) noexcept nogil:
    if supervisor.phase == PHASE_DRAINING and monotonic_ms() >= supervisor.drain_deadline:
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
