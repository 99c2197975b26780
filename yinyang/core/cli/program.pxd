"""The server as a program without Python: its options, its life and its log in one place."""

from libc.string cimport strlen

from ..identity.identity cimport NAME_MAX, identity_set
from ..identity.replica cimport ABOUTS, Replica
from ..log.log_queue cimport LogQueue, log_queue_open, log_queue_wait_for
from ..log.timezone cimport Timezone, timezone_open
from ..os.cpus cimport cpus_usable
from ..os.listener cimport listener_error_message, listener_open
from ..os.sandbox cimport SANDBOX_OFF, SANDBOX_REQUIRE, sandbox_enter, sandbox_is_possible
from ..os.syscalls cimport MAP_PRIVATE, map_memory
from ..supervisor.server cimport Server, server_wait, server_write_log
from ..supervisor.state cimport Supervisor
from ..supervisor.supervisor cimport supervisor_open, supervisor_start
from ..text.buffer cimport Text, text_format, text_open, text_system_error
from ..worker.timers cimport limits_set
from .healthcheck cimport healthcheck
from .options cimport (
    ACTION_ERROR, ACTION_HELP, ACTION_VERSION, OPTION_ACCESS_LOG, OPTION_APP_VERSION, OPTION_BODY_TIMEOUT,
    OPTION_DRAIN, OPTION_HEAD_TIMEOUT, OPTION_HOST, OPTION_IDLE_TIMEOUT, OPTION_NAME, OPTION_PALETTE, OPTION_PLAIN,
    OPTION_PORT, OPTION_SANDBOX, OPTION_SEND_TIMEOUT, OPTION_TITLE, OPTION_WORKERS, Options, host_name,
    options_parse, usage_message
)

cdef enum:
    MESSAGE_MAX = 4096

cdef struct Program:
    Replica replica
    Server server
    LogQueue log
    Timezone timezone
    Options options
    char host[NAME_MAX + 1]
    char message[MESSAGE_MAX]  # of the last call; ends with NUL, as the memory is zeros before


cdef inline void program_message(Program *program, Text *message) noexcept nogil:
    text_open(message, program.message, MESSAGE_MAX - 1)


cdef inline int program_parse(Program **program, int count, const char **arguments, const char *version) noexcept nogil:
    """Make a program of the command line and the environment; an Action. `message` says what the action has to say."""
    cdef Program *p = <Program *>map_memory(sizeof(Program), MAP_PRIVATE)
    cdef Text message
    cdef int action
    program[0] = p
    if p == NULL:
        return ACTION_ERROR
    program_message(p, &message)
    action = options_parse(&p.options, count, arguments, &message)
    if action == ACTION_HELP:
        usage_message(&message)
    elif action == ACTION_VERSION:
        text_format(&message, "yinyang %s\n", version)
    return action


cdef inline bint program_healthcheck(Program *p) noexcept nogil:
    cdef Text message
    program_message(p, &message)
    return healthcheck(p.options.texts[OPTION_HOST], p.options.numbers[OPTION_PORT], &message)


cdef inline bint program_open(Program *p, int log, int caller_fd) noexcept nogil:
    """Start to serve and to log to the descriptor `log`; False, with a message, if that fails. program_turn returns
    when `caller_fd` can be read."""
    cdef Text message
    cdef const char *host = p.options.texts[OPTION_HOST]
    cdef const char *name = p.options.texts[OPTION_NAME]
    cdef int port = p.options.numbers[OPTION_PORT]
    cdef int listener, error
    program_message(p, &message)
    if not sandbox_is_possible(p.options.numbers[OPTION_SANDBOX], &message):
        return False
    if name == NULL:
        name = p.host
        if not host_name(p.host, sizeof(p.host), &message):
            return False
    program_describe(p, name)
    listener = listener_open(host, port)
    if listener < 0:
        listener_error_message(&message, -listener, host, port)
        return False
    error = program_serve(p, listener, log, caller_fd)
    if error:
        text_system_error(&message, -error)
    return error == 0


cdef inline void program_describe(Program *p, const char *name) noexcept nogil:
    cdef int i
    identity_set(&p.replica.identity, name, strlen(name), p.options.numbers[OPTION_PALETTE])
    p.replica.title = p.options.texts[OPTION_TITLE]
    p.replica.plain = p.options.numbers[OPTION_PLAIN]
    for i in range(ABOUTS):
        p.replica.about[i] = p.options.texts[OPTION_APP_VERSION + i]


cdef inline int program_serve(Program *p, int listener, int log, int caller_fd) noexcept nogil:
    """0 or -errno."""
    cdef const int *numbers = p.options.numbers
    cdef Supervisor *supervisor = &p.server.supervisor
    cdef int workers = numbers[OPTION_WORKERS] if numbers[OPTION_WORKERS] else cpus_usable()
    cdef int error = log_queue_open(&p.log, log)
    limits_set(&supervisor.limits, numbers[OPTION_HEAD_TIMEOUT] * 1000, numbers[OPTION_BODY_TIMEOUT] * 1000,
               numbers[OPTION_SEND_TIMEOUT] * 1000, numbers[OPTION_IDLE_TIMEOUT] * 1000)
    supervisor.drain = numbers[OPTION_DRAIN] * 1000
    supervisor.sandbox = numbers[OPTION_SANDBOX]
    p.server.host = p.options.texts[OPTION_HOST]
    if error == 0:
        error = supervisor_open(supervisor, &p.replica, listener, workers, numbers[OPTION_ACCESS_LOG], caller_fd)
    timezone_open(&p.timezone)  # before the sandbox closes the file system
    if error == 0 and supervisor.sandbox != SANDBOX_OFF:
        supervisor.guards = sandbox_enter(True, supervisor.sandbox == SANDBOX_REQUIRE)
        error = min(supervisor.guards, 0)
    if error == 0:
        error = supervisor_start(supervisor)
    if error == 0:
        server_write_log(&p.server, &p.log, &p.timezone)
    return error


cdef inline bint program_turn(Program *p, int stops) noexcept nogil:
    """Wait for something to do, and do it; False when all is over. `stops` is as for server_wait."""
    cdef int delay = -1
    cdef int fd = log_queue_wait_for(&p.log, &delay)
    if not server_wait(&p.server, stops, fd, delay):
        return False
    server_write_log(&p.server, &p.log, &p.timezone)
    return True
