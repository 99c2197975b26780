"""The messages of the log about workers: their deaths, sandbox, readiness, and the listening socket that they share."""

from libc.stdint cimport uint32_t, uint64_t

from ..os.atomic cimport atomic_get_u64
from ..os.sandbox cimport SANDBOX_OFF, sandbox_message
from ..os.syscalls cimport (
    CALL_COUNT, CALL_NONE, SIGPROF, WEXITSTATUS, WIFSIGNALED, WTERMSIG, call_names, monotonic_ms
)
from ..shared.scoreboard cimport PHASE_STOPPING, WORKER_UP, scoreboard_is_unready, scoreboard_slot
from ..text.buffer cimport Text, llu, text_format, text_string, text_system_error
from .spawn cimport worker_is_due
from .state cimport (
    KILL_FLOODED, KILL_HUNG_UP, KILL_LIED, KILL_SILENT, KILL_STOPPED, LISTENER_FINE, LISTENER_REVIVED, Supervisor,
    WorkerProcess
)

cdef extern from "option_table.h" nogil:
    enum:
        OPTION_SANDBOX


cdef inline bint supervisor_take_death(Supervisor *supervisor, Text *text) noexcept nogil:
    """Put the message about a death that is not logged yet into the text; False if there is none. Until a worker is up,
    no death is logged: supervisor_failure_message may report it."""
    cdef WorkerProcess *process
    cdef int i
    if not supervisor.has_been_up:
        return False
    for i in range(supervisor.workers):
        process = &supervisor.processes[i]
        if process.dead_pid and not worker_is_due(supervisor, i, monotonic_ms()):
            death_message(text, i, process)
            if supervisor.phase != PHASE_STOPPING:
                restart_message(text, process)
            process.dead_pid = 0
            return True
    return False


cdef inline void death_message(Text *text, int slot, const WorkerProcess *process) noexcept nogil:
    text_format(text, "Worker %llu", <llu>slot + 1)
    if process.dead_pid < 0:
        text_string(text, " could not be started: ")
        text_system_error(text, -process.dead_status)
        return
    text_format(text, " (pid %llu)", <llu>process.dead_pid)
    text_end_of(text, process)


cdef inline void text_end_of(Text *text, const WorkerProcess *process) noexcept nogil:
    """How a worker ended."""
    if process.dead_reason == KILL_STOPPED or process.dead_reason == KILL_SILENT:
        text_string(text, " did nothing for too long")
    elif process.dead_reason == KILL_HUNG_UP:
        text_string(text, " closed its connection to the parent and went on, so it was killed")
    elif process.dead_reason == KILL_FLOODED:
        text_string(text, " notified the parent more often than it has reason to, so it was killed")
    elif process.dead_reason == KILL_LIED:
        text_string(text, " reported pages that it cannot have served, so it was killed")
    elif WIFSIGNALED(process.dead_status) and WTERMSIG(process.dead_status) == SIGPROF:
        text_string(text, " was stuck")
    elif WIFSIGNALED(process.dead_status):
        text_format(text, " was killed by signal %llu", <llu>WTERMSIG(process.dead_status))
    elif WEXITSTATUS(process.dead_status):
        text_string(text, " could not go on: ")
        text_system_error(text, WEXITSTATUS(process.dead_status))
    else:
        text_string(text, " ended")


cdef inline void restart_message(Text *text, const WorkerProcess *process) noexcept nogil:
    if process.pid:
        text_format(text, ", restarted as pid %llu", <llu>process.pid)
    else:
        text_string(text, ", will be restarted")
        if process.short_lives > 1:
            text_string(text, " after a pause")


cdef inline bint supervisor_take_sandbox(Supervisor *supervisor, Text *text) noexcept nogil:
    """Put the message about the sandbox into the text, once, when all workers have entered it; else False."""
    cdef int guards = -1
    cdef int i
    if supervisor.config.numbers[OPTION_SANDBOX] == SANDBOX_OFF or supervisor.sandbox_logged:
        return False
    for i in range(supervisor.workers):
        guards &= <int>atomic_get_u64(&scoreboard_slot(&supervisor.scoreboard, <uint32_t>i).state)
    if not guards & WORKER_UP:
        return False
    sandbox_message(text, supervisor.guards, guards & ~WORKER_UP)
    supervisor.sandbox_logged = True
    return True


cdef inline void supervisor_failure_message(const Supervisor *supervisor, Text *text) noexcept nogil:
    """The reason for supervisor_has_failed: the end of the first worker. The others ended in the same way."""
    text_string(text, "no worker could begin to serve: the first one")
    text_end_of(text, &supervisor.processes[0])
    text_call(text, atomic_get_u64(&scoreboard_slot(&supervisor.scoreboard, 0).state))


cdef inline void supervisor_error_message(const Supervisor *supervisor, int error, Text *text) noexcept nogil:
    """The message about an error of supervisor_open or supervisor_start."""
    text_system_error(text, error)
    text_call(text, <uint64_t>supervisor.failed_call)


cdef inline void text_call(Text *text, uint64_t call) noexcept nogil:
    """The call that failed, if it is known."""
    if CALL_NONE < call < CALL_COUNT:
        text_format(text, " (system call %s)", call_names[call])


cdef inline bint supervisor_take_readiness(Supervisor *supervisor, Text *text) noexcept nogil:
    """Put the message about a change of readiness into the text; False if there is none."""
    cdef bint unready = scoreboard_is_unready(&supervisor.scoreboard)
    if unready == supervisor.unready_logged:
        return False
    supervisor.unready_logged = unready
    text_string(text, "Not ready, as told: /readyz answers 503" if unready else "Ready again, as told")
    return True


cdef inline bint supervisor_take_listener(Supervisor *supervisor, Text *text) noexcept nogil:
    """Put the message about the listening socket into the text; False if there is none."""
    if supervisor.listener_event == LISTENER_FINE:
        return False
    text_string(text, "Somebody shut down the listening socket, ")
    if supervisor.listener_event == LISTENER_REVIVED:
        text_string(text, "and it listens again")
    else:
        text_string(text, "and it cannot listen again yet: ")
        text_system_error(text, supervisor.listener_error)
    supervisor.listener_event = LISTENER_FINE
    return True
