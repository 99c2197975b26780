"""The server as a program without Python: its options, its life and its log in one place."""

from ..config.config cimport Config, config_complete
from ..identity.replica cimport Replica, replica_set
from ..log.log_queue cimport LogQueue, log_queue_open, log_queue_wait_for
from ..log.timezone cimport Timezone, timezone_open
from ..os.listener cimport listener_error_message, listener_open
from ..os.sandbox cimport SANDBOX_OFF, SANDBOX_REQUIRE, sandbox_enter, sandbox_is_possible
from ..os.syscalls cimport MAP_PRIVATE, map_memory
from ..supervisor.server cimport Server, server_has_failed, server_wait, server_write_log
from ..supervisor.state cimport Supervisor
from ..supervisor.supervisor cimport supervisor_open, supervisor_start
from ..text.buffer cimport Text, text_format, text_open, text_string, text_system_error
from .healthcheck cimport healthcheck
from .options cimport ACTION_ERROR, ACTION_HELP, ACTION_VERSION, options_parse, usage_message

cdef extern from "option_table.h" nogil:
    enum:
        OPTION_HOST
        OPTION_PORT
        OPTION_SANDBOX

cdef enum:
    MESSAGE_MAX = 4096

cdef struct Program:
    Replica replica
    Server server
    LogQueue log
    Timezone timezone
    Config config
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
    action = options_parse(&p.config, count, arguments, &message)
    if action == ACTION_HELP:
        usage_message(&message)
    elif action == ACTION_VERSION:
        text_format(&message, "yinyang %s\n", version)
    return action


cdef inline bint program_healthcheck(Program *p) noexcept nogil:
    cdef Text message
    program_message(p, &message)
    return healthcheck(p.config.texts[OPTION_HOST], p.config.numbers[OPTION_PORT], &message)


cdef inline bint program_open(Program *p, int log, int caller_fd) noexcept nogil:
    """Start to serve and to log to the descriptor `log`; False, with a message, if that fails. program_turn returns
    when `caller_fd`, which tells of signals, can be read; -errno if there is none."""
    cdef const char *host = p.config.texts[OPTION_HOST]
    cdef int port = p.config.numbers[OPTION_PORT]
    cdef Text message
    cdef int listener, error
    program_message(p, &message)
    if caller_fd < 0:
        text_string(&message, "no signal could stop the server, as they cannot be received: ")
        text_system_error(&message, -caller_fd)
        return False
    if not sandbox_is_possible(p.config.numbers[OPTION_SANDBOX], &message):
        return False
    if not config_complete(&p.config, &message):
        return False
    replica_set(&p.replica, &p.config)
    listener = listener_open(host, port)
    if listener < 0:
        listener_error_message(&message, -listener, host, port)
        return False
    error = program_serve(p, listener, log, caller_fd)
    if error:
        text_system_error(&message, -error)
    return error == 0


cdef inline int program_serve(Program *p, int listener, int log, int caller_fd) noexcept nogil:
    """0 or -errno."""
    cdef Supervisor *supervisor = &p.server.supervisor
    cdef int sandbox = p.config.numbers[OPTION_SANDBOX]
    cdef int error = log_queue_open(&p.log, log)
    if error == 0:
        error = supervisor_open(supervisor, &p.config, &p.replica, listener, caller_fd)
    timezone_open(&p.timezone)  # before the sandbox closes the file system
    if error == 0 and sandbox != SANDBOX_OFF:
        supervisor.guards = sandbox_enter(True, sandbox == SANDBOX_REQUIRE)
        error = min(supervisor.guards, 0)
    if error == 0:
        error = supervisor_start(supervisor)
    if error == 0:
        server_write_log(&p.server, &p.log, &p.timezone)
    return error


cdef inline int program_turn(Program *p, int stops) noexcept nogil:
    """Wait for something to do, and do it: 1. When all is over: 0, or -1, with a message, if it could not serve.
    `stops` is as for server_wait."""
    cdef Text message
    cdef int delay = -1
    cdef int fd = log_queue_wait_for(&p.log, &delay)
    if not server_wait(&p.server, stops, fd, delay):
        program_message(p, &message)
        return -1 if server_has_failed(&p.server, &message) else 0
    server_write_log(&p.server, &p.log, &p.timezone)
    return 1
