"""What the log says about workers: their deaths, and the sandbox they entered."""

from ..os.atomic cimport atomic_get_u64
from ..os.sandbox cimport SANDBOX_OFF, sandbox_message
from ..os.syscalls cimport SIGPROF, WEXITSTATUS, WIFSIGNALED, WTERMSIG
from ..shared.scoreboard cimport GUARD_ENTERED, PHASE_STOPPING
from ..text.buffer cimport Text, llu, text_format, text_string, text_system_error
from .state cimport Supervisor, WorkerProcess


cdef extern from "option_table.h" nogil:
    enum:
        OPTION_SANDBOX


cdef inline bint supervisor_take_death(Supervisor *supervisor, Text *text) noexcept nogil:
    """Put the message about a death that is not logged yet into the text; False if there is none."""
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


cdef inline bint supervisor_take_sandbox(Supervisor *supervisor, Text *text) noexcept nogil:
    """Put the message about the sandbox into the text, once, as soon as all workers have entered it; else False."""
    cdef int guards = -1
    cdef int i
    if supervisor.config.numbers[OPTION_SANDBOX] == SANDBOX_OFF or supervisor.sandbox_logged:
        return False
    for i in range(supervisor.workers):
        guards &= <int>atomic_get_u64(&supervisor.scoreboard.slots[i].guards)
    if not guards & GUARD_ENTERED:
        return False
    sandbox_message(text, supervisor.guards, guards & ~GUARD_ENTERED)
    supervisor.sandbox_logged = True
    return True
