"""Executing the static program anew for each worker, so that each has addresses and a stack canary of its own.

Otherwise a worker is a copy of its parent, and an attacker who makes workers crash could find out the layout of all of
them piece by piece. A worker inherits descriptors, whose numbers it is told, and gets its settings by the arguments and
the environment of the program.
"""

from libc.stdint cimport int64_t

from ..config.config cimport Config
from ..os.descriptors cimport keep_when_executing
from ..os.syscalls cimport (
    AT_EMPTY_PATH, AT_EXECFN, MAP_PRIVATE, O_CLOEXEC, O_PATH, PR_GET_DUMPABLE, SYS_execveat, environ, getauxval,
    map_memory, open, prctl, syscall
)
from ..text.buffer cimport Text, llu, number_parse, text_fits, text_format, text_open
from .state cimport Executable

cdef extern from "yinyang.h" nogil:
    const char *WORKER_NAME

cdef extern from "option_table.h" nogil:
    enum:
        OPTION_MAX_CONNECTIONS
        OPTION_NAME
        OPTION_WORKERS

cdef enum:
    OWN_ARGUMENTS = 6  # beside those of the program: the worker's name, its numbers, three options, and NULL

cdef enum:  # what a worker is told in its first argument
    NUMBER_SLOT
    NUMBER_LISTENER
    NUMBER_LIFELINE
    NUMBER_WAKEUP
    NUMBER_SCOREBOARD
    NUMBER_ALONE
    NUMBER_LISTENER_IS_SHARED
    NUMBER_DUMPABLE
    WORKER_NUMBERS


cdef inline bint executable_open(Executable *executable, int count, const char **arguments,
                                 const Config *config) noexcept nogil:
    """Open it before the sandbox closes the file system; False if this program cannot be found, or there is no memory.
    The arguments must stay valid. Options are added for what a worker cannot find out: this host's name, its CPUs, and
    the memory of its control groups."""
    cdef Text name, workers, connections
    cdef int i
    text_open(&name, executable.name, sizeof(executable.name) - 1)
    text_format(&name, "--name=%s", config.texts[OPTION_NAME])
    text_open(&workers, executable.workers, sizeof(executable.workers) - 1)
    text_format(&workers, "--workers=%llu", <llu>config.numbers[OPTION_WORKERS])
    text_open(&connections, executable.max_connections, sizeof(executable.max_connections) - 1)
    text_format(&connections, "--max-connections=%llu", <llu>config.numbers[OPTION_MAX_CONNECTIONS])
    executable.fd = open("/proc/self/exe", O_PATH | O_CLOEXEC)
    if executable.fd < 0:
        executable.fd = open(<const char *>getauxval(AT_EXECFN), O_PATH | O_CLOEXEC)
    executable.arguments = <const char **>map_memory((count + OWN_ARGUMENTS) * sizeof(char *), MAP_PRIVATE)
    if (executable.fd < 0 or executable.arguments == NULL or not text_fits(&name) or not text_fits(&workers)
            or not text_fits(&connections)):
        return False
    executable.arguments[0] = WORKER_NAME
    executable.arguments[1] = executable.numbers
    for i in range(count):
        executable.arguments[2 + i] = arguments[i]
    executable.arguments[2 + count] = executable.name
    executable.arguments[3 + count] = executable.workers
    executable.arguments[4 + count] = executable.max_connections
    return True


cdef inline void executable_run(Executable *executable, int slot, int listener, bint listener_is_shared, int lifeline,
                                int wakeup_fd, bint alone) noexcept nogil:
    """Become another worker; returns only if that fails."""
    cdef int numbers[WORKER_NUMBERS]
    cdef Text text
    cdef int i
    numbers[NUMBER_SLOT] = slot
    numbers[NUMBER_LISTENER] = listener
    numbers[NUMBER_LIFELINE] = lifeline
    numbers[NUMBER_WAKEUP] = wakeup_fd
    numbers[NUMBER_SCOREBOARD] = executable.scoreboard_fd
    numbers[NUMBER_ALONE] = alone
    numbers[NUMBER_LISTENER_IS_SHARED] = listener_is_shared
    # A process that was root and changed its user must not be traced by that user. Executing a program ends this
    # protection.
    numbers[NUMBER_DUMPABLE] = prctl(PR_GET_DUMPABLE, 0) == 1
    text_open(&text, executable.numbers, sizeof(executable.numbers) - 1)
    for i in range(WORKER_NUMBERS):
        text_format(&text, "%llu,", <llu>numbers[i])
    if not text_fits(&text):
        return
    executable.numbers[text.length] = 0
    for i in range(NUMBER_LISTENER, NUMBER_ALONE):
        keep_when_executing(numbers[i])
    syscall(SYS_execveat, executable.fd, b"", executable.arguments, environ, AT_EMPTY_PATH)


cdef inline bint worker_numbers_parse(const char *text, int *numbers) noexcept nogil:
    """Parse the numbers that executable_run has written; False if `text` is none of them."""
    cdef int64_t number
    cdef int i
    for i in range(WORKER_NUMBERS):
        number = number_parse(&text)
        if not 0 <= number < 1 << 30 or text[0] != b',':
            return False
        numbers[i] = <int>number
        text += 1
    return text[0] == 0
