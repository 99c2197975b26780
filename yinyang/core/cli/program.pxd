"""The server as a program without Python: its options, its life and its log in one place."""

from libc.stdint cimport int64_t
from libc.string cimport memset

from ..config.config cimport Config, config_complete
from ..identity.replica cimport Replica, replica_set
from ..log.log_queue cimport LogQueue, log_queue_open, log_queue_wait_for
from ..log.timezone cimport Timezone, timezone_open
from ..os.listener cimport NO_LISTENER, listener_error_message, listener_inherited, listener_open
from ..os.sandbox cimport (
    GUARD_FILES, OF_PARENT, SANDBOX_OFF, SANDBOX_REQUIRE, sandbox_enter, sandbox_is_possible, sandbox_refusal_message
)
from ..os.syscalls cimport (
    EINVAL, ENOMEM, EPERM, MAP_PRIVATE, PR_SET_DUMPABLE, close, map_memory, monotonic_us, prctl
)
from ..shared.scoreboard cimport Scoreboard, scoreboard_attach, scoreboard_set_began
from ..supervisor.executable cimport (
    NUMBER_ALONE, NUMBER_DUMPABLE, NUMBER_LIFELINE, NUMBER_LISTENER, NUMBER_LISTENER_IS_SHARED, NUMBER_SCOREBOARD,
    NUMBER_SLOT, NUMBER_WAKEUP, WORKER_NUMBERS, executable_open, worker_numbers_parse
)
from ..supervisor.messages cimport supervisor_error_message
from ..supervisor.server cimport Server, server_has_failed, server_wait, server_write_log
from ..supervisor.state cimport Executable, Supervisor
from ..supervisor.supervisor cimport supervisor_open, supervisor_start
from ..text.buffer cimport Text, text_format, text_open, text_string, text_system_error
from ..worker.loop cimport worker_run
from .healthcheck cimport healthcheck
from .options cimport ACTION_ERROR, ACTION_HELP, ACTION_SERVE, ACTION_VERSION, options_parse, usage_message

cdef extern from "option_table.h" nogil:
    enum:
        OPTION_HOST
        OPTION_PORT
        OPTION_PROXY_PROTOCOL
        OPTION_SANDBOX
        OPTION_WORKERS

cdef enum:
    MESSAGE_MAX = 5120

cdef struct Program:
    int64_t began  # us: when the program did
    Replica replica
    Server server
    LogQueue log
    Timezone timezone
    Config config
    int count  # of the arguments
    const char **arguments
    Executable executable
    char message[MESSAGE_MAX]  # of the last call; ends with NUL


cdef inline void program_message(Program *program, Text *message) noexcept nogil:
    memset(program.message, 0, MESSAGE_MAX)
    text_open(message, program.message, MESSAGE_MAX - 1)


cdef inline int program_parse(Program **program, int count, const char **arguments, const char *version) noexcept nogil:
    """Make a program from the command line and the environment; an Action, with its text in `message`."""
    cdef int64_t began = monotonic_us()
    cdef Program *p = <Program *>map_memory(sizeof(Program), MAP_PRIVATE)
    cdef Text message
    cdef int action
    program[0] = p
    if p == NULL:
        return ACTION_ERROR
    p.began = began
    p.count = count
    p.arguments = arguments
    program_message(p, &message)
    action = options_parse(&p.config, count, arguments, &message)
    if action == ACTION_HELP:
        usage_message(&message)
    elif action == ACTION_VERSION:
        text_format(&message, "yinyang %s\n", version)
    return action


cdef inline bint program_healthcheck(Program *p) noexcept nogil:
    cdef Text message
    program_message(p, &message)
    return healthcheck(p.config.texts[OPTION_HOST], p.config.numbers[OPTION_PORT],
                       p.config.numbers[OPTION_PROXY_PROTOCOL], &message)


cdef inline bint program_open(Program *p, int log, int caller_fd) noexcept nogil:
    """Start to serve and to log to the descriptor `log`; False, with a message, if that fails. program_turn returns
    when `caller_fd`, which tells of signals, can be read; -errno if there is none."""
    cdef const char *host = p.config.texts[OPTION_HOST]
    cdef int port = p.config.numbers[OPTION_PORT]
    cdef Text message
    cdef int refused = 0
    cdef int listener, error
    program_message(p, &message)
    if caller_fd < 0:
        text_string(&message, "no signal could stop the server, as it cannot receive signals: ")
        text_system_error(&message, -caller_fd)
        return False
    if not sandbox_is_possible(p.config.numbers[OPTION_SANDBOX], "--sandbox auto", &message):
        return False
    if not config_complete(&p.config, &message):
        return False
    replica_set(&p.replica, &p.config)
    listener = listener_inherited(&message)
    p.server.supervisor.listener_is_shared = listener >= 0
    if listener == NO_LISTENER:
        listener = listener_open(host, port)
        if listener < 0:
            listener_error_message(&message, -listener, host, port)
    if listener < 0:
        return False
    error = program_serve(p, listener, log, caller_fd, &refused)
    if refused:
        sandbox_refusal_message(&message, refused, "--sandbox auto")
    elif error:
        supervisor_error_message(&p.server.supervisor, -error, &message)
    return error == 0


cdef inline int program_serve(Program *p, int listener, int log, int caller_fd, int *refused) noexcept nogil:
    """Start to serve; 0 or -errno. `refused` becomes a part of the sandbox that is required but not available."""
    cdef Supervisor *supervisor = &p.server.supervisor
    cdef int sandbox = p.config.numbers[OPTION_SANDBOX]
    cdef int error = log_queue_open(&p.log, log)
    if sandbox != SANDBOX_OFF and executable_open(&p.executable, p.count, p.arguments, &p.config):
        supervisor.executable = &p.executable
    if error == 0:
        error = supervisor_open(supervisor, &p.config, &p.replica, listener, caller_fd)
    timezone_open(&p.timezone)  # before the sandbox closes the file system
    if error == 0 and sandbox != SANDBOX_OFF:
        supervisor.guards = sandbox_enter(
            OF_PARENT, supervisor.wakeup_fd, p.executable.fd if supervisor.executable != NULL else -1, refused)
        if not supervisor.guards & GUARD_FILES:
            supervisor.executable = NULL  # as other programs could be executed then
        if sandbox != SANDBOX_REQUIRE:
            refused[0] = 0
        elif refused[0]:
            error = -EPERM
    if error == 0:
        scoreboard_set_began(&supervisor.scoreboard, p.began)
        error = supervisor_start(supervisor)
    if error == 0:
        server_write_log(&p.server, &p.log, &p.timezone)
    return error


cdef inline int program_turn(Program *p, int stops) noexcept nogil:
    """Wait for something to do, and do it. Returns 1; when all is over, 0, or -1, with a message, if it could not
    serve. `stops` is as for server_wait."""
    cdef Text message
    cdef int delay = -1
    cdef int fd = log_queue_wait_for(&p.log, &delay)
    if not server_wait(&p.server, stops, fd, delay):
        program_message(p, &message)
        return -1 if server_has_failed(&p.server, &message) else 0
    server_write_log(&p.server, &p.log, &p.timezone)
    return 1


cdef inline int program_worker(int count, const char **arguments) noexcept nogil:
    """Run as the worker that another process has executed with these arguments; its exit code."""
    cdef Program *p = NULL
    cdef int numbers[WORKER_NUMBERS]
    cdef Text message
    cdef Scoreboard scoreboard
    if not worker_numbers_parse(arguments[0], numbers):
        return EINVAL
    if program_parse(&p, count - 1, arguments + 1, "") != ACTION_SERVE or p.config.numbers[OPTION_WORKERS] == 0:
        return EINVAL if p != NULL else ENOMEM
    program_message(p, &message)
    if not config_complete(&p.config, &message):
        return EINVAL
    replica_set(&p.replica, &p.config)
    if (numbers[NUMBER_SLOT] >= p.config.numbers[OPTION_WORKERS]
            or not scoreboard_attach(&scoreboard, p.config.numbers[OPTION_WORKERS], numbers[NUMBER_SCOREBOARD])):
        return EINVAL
    close(numbers[NUMBER_SCOREBOARD])
    if not numbers[NUMBER_DUMPABLE]:
        prctl(PR_SET_DUMPABLE, 0)
    return worker_run(&scoreboard, numbers[NUMBER_SLOT], &p.config, &p.replica, numbers[NUMBER_LISTENER],
                      numbers[NUMBER_LISTENER_IS_SHARED], numbers[NUMBER_LIFELINE],
                      numbers[NUMBER_WAKEUP], numbers[NUMBER_ALONE])
