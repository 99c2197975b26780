"""The end of workers that hang up, are stopped, are silent or are not to be trusted; and the orphans of a container.

Nothing here waits. A worker that is to end, or has hung up, has some time to end; then it is killed. If it does not die
even so, it is given up: the kernel may hold it in a call, a debugger as a zombie, a control group frozen.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
from libc.string cimport memset

from ..os.atomic cimport atomic_get_u64
from ..os.syscalls cimport (
    CLD_STOPPED, EAGAIN, EINTR, MSG_DONTWAIT, MSG_NOSIGNAL, P_ALL, P_PID, SIGKILL, WCONTINUED, WEXITED, WIFSIGNALED,
    WNOHANG, WNOWAIT, WSTOPPED, WTERMSIG, close, cpu_time_of, errno, kill, monotonic_ms, pid_t, recv, send, siginfo_t,
    waitid, waitpid
)
from ..shared.page_ring cimport PageReader
from ..shared.scoreboard cimport (
    PHASE_STOPPING, WORKER_UP, scoreboard_clear_slot, scoreboard_note_up, scoreboard_set_ready, scoreboard_slot
)
from .spawn cimport SHORT_LIFE, schedule_restart
from .state cimport (
    KILL_FLOODED, KILL_HUNG_UP, KILL_SILENT, KILL_STOPPED, Supervisor, WorkerProcess
)

cdef enum:
    HANG_TIMEOUT = 5000  # ms until a worker that stays stopped, or takes no turn, is replaced
    PROBE_INTERVAL = 1000  # ms from a turn of a worker to the next one that it is asked for
    HANG_UP_TIMEOUT = 500  # ms from the end of a lifeline to the end of its worker
    KILL_TIMEOUT = 500  # ms from SIGKILL to the end of a worker
    ORPHANS_MAX = 256  # in a row
    NS_PER_MS = 1000000


# ---- what a worker sends ------------------------------------------------------------------------------------------

cdef inline void supervisor_on_worker_event(Supervisor *supervisor, int slot) noexcept nogil:
    """A worker has notified the parent, or its lifeline has hung up."""
    cdef WorkerProcess *process = &supervisor.processes[slot]
    cdef char bytes[64]
    cdef ssize_t size = recv(process.lifeline, bytes, sizeof(bytes), MSG_DONTWAIT)
    if size > 0:
        process.notifications += <uint64_t>size
        supervisor_note_up(supervisor, slot)
        if process.notifications > process.notifications_max:
            supervisor_kill_worker(supervisor, slot, KILL_FLOODED)
    elif size == 0 or errno != EAGAIN and errno != EINTR:
        process.hung_up_at = monotonic_ms()
        process_close_lifeline(process)
        supervisor_check_end(supervisor, slot)


cdef inline void supervisor_note_up(Supervisor *supervisor, int slot) noexcept nogil:
    """Note whether the worker serves by now."""
    if atomic_get_u64(&scoreboard_slot(&supervisor.scoreboard, <uint32_t>slot).state) & WORKER_UP:
        supervisor.processes[slot].is_up = True
        if not supervisor.has_been_up:
            scoreboard_note_up(&supervisor.scoreboard)
        supervisor.has_been_up = True


cdef inline void process_close_lifeline(WorkerProcess *process) noexcept nogil:
    if process.lifeline >= 0:
        close(process.lifeline)
    process.lifeline = -1


# ---- killing and waiting ------------------------------------------------------------------------------------------

cdef inline void supervisor_kill_worker(Supervisor *supervisor, int slot, int reason) noexcept nogil:
    """End a worker at once; the first reason is the one that is logged."""
    cdef WorkerProcess *process = &supervisor.processes[slot]
    if process.pid == 0 or process.killed_at:
        return
    kill(process.pid, SIGKILL)
    process.killed_at = monotonic_ms()
    process.kill_reason = reason
    process.stopped_at = process.probed_at = 0
    scoreboard_set_ready(&supervisor.scoreboard, <uint32_t>slot, INT64_MAX)
    if process_is_distrusted(process):
        process_close_lifeline(process)  # further bytes from it do not matter


cdef inline bint process_is_distrusted(const WorkerProcess *process) noexcept nogil:
    """Whether it may run foreign code, that is, was killed for something that the program never does."""
    return process.kill_reason >= KILL_HUNG_UP


cdef inline void supervisor_check_end(Supervisor *supervisor, int slot) noexcept nogil:
    """Check a worker that has hung up or was killed. If it is not dead in time, kill it, and later give it up."""
    cdef WorkerProcess *process = &supervisor.processes[slot]
    cdef int64_t now = monotonic_ms()
    cdef int status = 0
    cdef pid_t dead
    if process.abandoned_pid and waitpid(process.abandoned_pid, NULL, WNOHANG) != 0:
        process.abandoned_pid = 0
    if process.pid == 0 or process.hung_up_at == 0 and process.killed_at == 0:
        return
    process_note_cpu_time(process, now)  # while it can still be read
    dead = waitpid(process.pid, &status, WNOHANG)
    if dead > 0 or dead < 0 and errno != EINTR:
        # an error means the same: where SIGCHLD is ignored, the kernel itself waits for the dead
        supervisor_note_end(supervisor, slot, status, now)
    elif process.killed_at and now >= process.killed_at + KILL_TIMEOUT:
        process.abandoned_pid = process.pid
        supervisor_note_end(supervisor, slot, SIGKILL, now)
    elif process.killed_at == 0 and now >= process.hung_up_at + HANG_UP_TIMEOUT:
        supervisor_kill_worker(supervisor, slot, KILL_HUNG_UP)


cdef inline int64_t process_check_end_at(const WorkerProcess *process, int64_t now) noexcept nogil:
    """ms: when to check again for the end of a worker that has hung up or was killed. Most end soon, so the first check
    is a moment later, and each further delay is the time that has passed already."""
    cdef int64_t since = process.killed_at if process.killed_at else process.hung_up_at
    return now + max(<int64_t>1, min(now - since, <int64_t>KILL_TIMEOUT))


cdef inline void supervisor_note_end(Supervisor *supervisor, int slot, int status, int64_t now) noexcept nogil:
    """A worker is dead, or given up: note how it ended, and schedule the next one."""
    cdef WorkerProcess *process = &supervisor.processes[slot]
    supervisor_note_up(supervisor, slot)
    process_close_lifeline(process)
    process.dead_status = status
    process.dead_reason = process.kill_reason
    process.dead_pid = 0 if supervisor_expects(supervisor, status) else process.pid
    process.failed_start = not supervisor.has_been_up and not (WIFSIGNALED(status) and WTERMSIG(status) == SIGKILL)
    process.pid = 0
    process.cpu_time_before += process.cpu_time
    process.cpu_time = 0
    supervisor.running -= 1
    scoreboard_set_ready(&supervisor.scoreboard, <uint32_t>slot, INT64_MAX)
    if process_is_distrusted(process):
        supervisor_forget(supervisor, slot)
    schedule_restart(process, now - process.started_at < SHORT_LIFE, now)


cdef inline void supervisor_forget(Supervisor *supervisor, int slot) noexcept nogil:
    """Forget what a dead worker wrote, because it was not to be trusted."""
    cdef WorkerProcess *process = &supervisor.processes[slot]
    scoreboard_clear_slot(&supervisor.scoreboard, <uint32_t>slot)
    memset(&process.reader, 0, sizeof(PageReader))
    process.pages = 0
    process.cpu_time_before = 0


cdef inline bint supervisor_expects(const Supervisor *supervisor, int status) noexcept nogil:
    """Whether a worker ended as it was told to, or was killed because it did not."""
    return supervisor.phase == PHASE_STOPPING and (status == 0 or WIFSIGNALED(status) and WTERMSIG(status) == SIGKILL)


cdef inline void process_note_cpu_time(WorkerProcess *process, int64_t now) noexcept nogil:
    """Note the CPU time that a worker has used. If the kernel does not tell it, that is all the time since its
    start."""
    cdef int64_t used = cpu_time_of(process.pid)
    process.cpu_time = used if used > 0 else (now - process.started_at) * NS_PER_MS


# ---- workers that do nothing --------------------------------------------------------------------------------------

cdef inline void supervisor_check_workers(Supervisor *supervisor) noexcept nogil:
    """Check workers that end, are stopped, or are silent."""
    cdef int64_t now = monotonic_ms()
    cdef int i
    for i in range(supervisor.workers):
        supervisor_check_end(supervisor, i)
        if supervisor.processes[i].pid and supervisor.processes[i].killed_at == 0:
            supervisor_check_stopped(supervisor, i, now)
            supervisor_check_turns(supervisor, i, now)


cdef inline void supervisor_check_stopped(Supervisor *supervisor, int slot, int64_t now) noexcept nogil:
    """Replace a worker that was stopped and is not continued in time."""
    cdef WorkerProcess *process = &supervisor.processes[slot]
    cdef siginfo_t info
    info.si_pid = 0
    while waitid(P_PID, <unsigned int>process.pid, &info, WSTOPPED | WCONTINUED | WNOHANG) == 0 and info.si_pid:
        process.stopped_at = now if info.si_code == CLD_STOPPED else 0
        scoreboard_set_ready(&supervisor.scoreboard, <uint32_t>slot, INT64_MAX if process.stopped_at else now)
        info.si_pid = 0
    if process.stopped_at and now >= process.stopped_at + HANG_TIMEOUT:
        supervisor_kill_worker(supervisor, slot, KILL_STOPPED)


cdef inline void supervisor_check_turns(Supervisor *supervisor, int slot, int64_t now) noexcept nogil:
    """Replace a worker that takes no turn though it was asked to, because it is traced, frozen, or runs foreign code.
    Without traffic no worker is asked, because nothing may wake the server then."""
    cdef WorkerProcess *process = &supervisor.processes[slot]
    cdef uint64_t turns = atomic_get_u64(&scoreboard_slot(&supervisor.scoreboard, <uint32_t>slot).turns)
    if process.probed_at and process.turns != turns:
        process.probed_at = 0
        process.turns_at = now
    if process.probed_at == 0 and process.is_up and now >= process.turns_at + PROBE_INTERVAL:
        process.turns = turns
        process.probed_at = now
        process_wake(process)
    if process.probed_at and now >= process.probed_at + HANG_TIMEOUT:
        supervisor_kill_worker(supervisor, slot, KILL_SILENT)


cdef inline void process_wake(const WorkerProcess *process) noexcept nogil:
    """Have a worker take a turn, by a byte. If its lifeline is full of such bytes, the worker is silent anyway."""
    send(process.lifeline, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL)


cdef inline void supervisor_restart_deadlines(Supervisor *supervisor, int64_t now) noexcept nogil:
    """Start the deadlines of all workers again: this process could not run for a while, and perhaps its workers
    neither."""
    cdef int i
    for i in range(supervisor.workers):
        if supervisor.processes[i].stopped_at:
            supervisor.processes[i].stopped_at = now
        if supervisor.processes[i].probed_at:
            supervisor.processes[i].probed_at = now


# ---- orphans ------------------------------------------------------------------------------------------------------

cdef inline void supervisor_reap_orphans(Supervisor *supervisor) noexcept nogil:
    """Wait for dead children that are not workers. The first process of a container inherits such orphans. Other
    programs must not call this, because it would take the exit codes of their own children. WNOWAIT leaves the exit
    codes of workers for supervisor_check_end."""
    cdef siginfo_t info
    cdef int left = ORPHANS_MAX
    cdef int slot
    while left:
        left -= 1
        info.si_pid = 0
        if waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 or info.si_pid == 0:
            return
        slot = supervisor_slot_of(supervisor, info.si_pid)
        if slot < 0:
            waitpid(info.si_pid, NULL, WNOHANG)
            continue
        if supervisor.processes[slot].hung_up_at == 0:
            supervisor.processes[slot].hung_up_at = monotonic_ms()
        supervisor_check_end(supervisor, slot)


cdef inline int supervisor_slot_of(const Supervisor *supervisor, pid_t pid) noexcept nogil:
    """The slot of a worker; -1 if it is no worker."""
    cdef int slot
    for slot in range(supervisor.workers):
        if supervisor.processes[slot].pid == pid:
            return slot
    return -1
