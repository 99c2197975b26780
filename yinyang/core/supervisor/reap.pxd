"""The end of worker processes: deaths, workers that somebody has stopped, and the orphans of a container."""

from libc.stdint cimport INT64_MAX, int64_t

from ..os.atomic cimport atomic_set_i64
from ..os.syscalls cimport (
    CLD_STOPPED, EAGAIN, EINTR, MSG_DONTWAIT, P_ALL, P_PID, SIGKILL, WCONTINUED, WEXITED, WIFSIGNALED, WNOHANG,
    WNOWAIT, WSTOPPED, WTERMSIG, close, errno, kill, monotonic_ms, pid_t, recv, siginfo_t, waitid, waitpid
)
from ..shared.scoreboard cimport PHASE_STOPPING
from .spawn cimport SHORT_LIFE, schedule_restart
from .state cimport Supervisor, WorkerProcess

cdef enum:
    HANG_TIMEOUT = 5000  # ms until a worker that was stopped, and not continued, is replaced


cdef inline void supervisor_on_worker_event(Supervisor *supervisor, int slot) noexcept nogil:
    """A worker has notified the parent, or is dead."""
    cdef char byte = 0
    cdef ssize_t size = recv(supervisor.processes[slot].lifeline, &byte, 1, MSG_DONTWAIT)
    if size == 0 or size < 0 and errno != EAGAIN and errno != EINTR:
        supervisor_reap(supervisor, slot)


cdef inline void supervisor_reap(Supervisor *supervisor, int slot) noexcept nogil:
    """Wait for a worker that is dead, or about to be, and schedule the next one."""
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


cdef inline bint supervisor_expects(const Supervisor *supervisor, int status) noexcept nogil:
    """Is this how a worker ends that was told to, or was killed because it did not?"""
    return supervisor.phase == PHASE_STOPPING and (status == 0 or WIFSIGNALED(status) and WTERMSIG(status) == SIGKILL)


cdef inline void supervisor_check_stopped(Supervisor *supervisor) noexcept nogil:
    """Replace a worker that was stopped and is not continued in time. Time in which this process was stopped too does
    not count."""
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
                process.stopped_at = now  # this process did not run either: begin anew
            else:
                process.stopped_at = 0
                process.killed_as_hung = True
                kill(process.pid, SIGKILL)


cdef inline void supervisor_reap_orphans(Supervisor *supervisor) noexcept nogil:
    """Wait for dead children that are not workers. The first process of a container inherits such orphans; no other
    program may call this, since its other children are its own business. WNOWAIT: the exit codes of workers are left
    for supervisor_reap."""
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
    """The slot of a worker; -1 if it is no worker."""
    cdef int slot
    for slot in range(supervisor.workers):
        if supervisor.processes[slot].pid == pid:
            return slot
    return -1
