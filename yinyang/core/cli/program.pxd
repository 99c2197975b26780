"""The server as a program without Python: options, supervisor and log in one place. What server.py is to Python."""

from libc.stdint cimport int64_t, uint64_t

from ..config.config cimport Config, config_complete
from ..identity.replica cimport Replica, replica_set
from ..log.log_queue cimport (
    LogQueue, log_queue_add_message, log_queue_add_pages, log_queue_flush, log_queue_open, log_queue_wait_for
)
from ..os.listener cimport listener_error_message, listener_open, listening_message
from ..os.sandbox cimport SANDBOX_OFF, SANDBOX_REQUIRE, sandbox_enter, sandbox_is_possible
from ..os.syscalls cimport MAP_PRIVATE, map_memory, monotonic_ms, wall_second
from ..supervisor.supervisor cimport (
    Supervisor, supervisor_death_message, supervisor_has_pages, supervisor_is_over, supervisor_kill,
    supervisor_open, supervisor_patience, supervisor_sandbox_message, supervisor_start, supervisor_stop,
    supervisor_take_pages, supervisor_wait
)
from ..text.buffer cimport Text, text_format, text_open, text_system_error
from .healthcheck cimport healthcheck
from .options cimport ACTION_ERROR, ACTION_HELP, ACTION_VERSION, options_parse, usage_message

cdef extern from "option_table.h" nogil:
    enum:
        OPTION_HOST
        OPTION_PORT
        OPTION_SANDBOX

cdef enum:
    PROGRAM_TEXT_MAX = 4096

cdef struct Program:  # what is large comes last, so that the code reaches the rest with short offsets
    int stops  # how often it was asked to
    int64_t stop_until  # ms: a log whose reader has stopped is not waited for any longer
    Replica replica
    Supervisor supervisor
    LogQueue log
    Config config
    char pages[512]
    char words[PROGRAM_TEXT_MAX]  # NUL at the end, as everything is zeros before


cdef inline void program_text(Program *program, Text *words) noexcept nogil:
    text_open(words, program.words, PROGRAM_TEXT_MAX - 1)


cdef inline int program_parse(Program **program, int count, const char **arguments, const char *version) noexcept nogil:
    """Make a program of the command line and the environment; an Action. What there is to tell is in its words."""
    cdef Program *p = <Program *>map_memory(sizeof(Program), MAP_PRIVATE)
    cdef Text words
    cdef int action
    program[0] = p
    if p == NULL:
        return ACTION_ERROR
    program_text(p, &words)
    action = options_parse(&p.config, count, arguments, &words)
    if action == ACTION_HELP:
        usage_message(&words)
    elif action == ACTION_VERSION:
        text_format(&words, "yinyang %s\n", version)
    return action


cdef inline bint program_healthcheck(Program *p) noexcept nogil:
    cdef Text words
    program_text(p, &words)
    return healthcheck(p.config.texts[OPTION_HOST], p.config.numbers[OPTION_PORT], &words)


cdef inline bint program_open(Program *p, int log, int caller_fd) noexcept nogil:
    """Begin to serve, with a log to the descriptor `log`; False, with words, if that cannot be. program_turn returns
    when `waker` can be read."""
    cdef const char *host = p.config.texts[OPTION_HOST]
    cdef int port = p.config.numbers[OPTION_PORT]
    cdef Text words
    cdef int listener, error
    program_text(p, &words)
    if not sandbox_is_possible(p.config.numbers[OPTION_SANDBOX], &words) or not config_complete(&p.config, &words):
        return False
    replica_set(&p.replica, &p.config)
    listener = listener_open(host, port)
    if listener < 0:
        listener_error_message(&words, -listener, host, port)
        return False
    error = program_serve(p, listener, log, caller_fd)
    if error:
        text_system_error(&words, -error)
    return error == 0


cdef inline int program_serve(Program *p, int listener, int log, int caller_fd) noexcept nogil:
    """0 or -errno."""
    cdef int sandbox = p.config.numbers[OPTION_SANDBOX]
    cdef int error = log_queue_open(&p.log, log)
    if error == 0:
        error = supervisor_open(&p.supervisor, &p.config, &p.replica, listener, caller_fd)
    if error == 0 and sandbox != SANDBOX_OFF:
        p.supervisor.guards = sandbox_enter(True, sandbox == SANDBOX_REQUIRE)
        error = min(p.supervisor.guards, 0)
    if error == 0:
        error = supervisor_start(&p.supervisor)
    if error == 0:
        program_greet(p, listener)
    return error


cdef inline void program_message(const Program *p, Text *text, const char *verb) noexcept nogil:
    text_format(text, "%s image, host: %s, colour: %s", verb, p.replica.identity.name, p.replica.identity.colours[0])


cdef inline void program_greet(Program *p, int listener) noexcept nogil:
    """The first lines of the log."""
    cdef int64_t now = wall_second()
    cdef Text text
    text_open(&p.log.pages, p.pages, sizeof(p.pages))
    program_message(p, &p.log.pages, "Served")
    program_text(p, &text)
    program_message(p, &text, "Serving")
    log_queue_add_message(&p.log, now, &text)
    program_text(p, &text)
    listening_message(&text, listener, p.config.texts[OPTION_HOST], p.supervisor.workers)
    log_queue_add_message(&p.log, now, &text)
    log_queue_flush(&p.log)


cdef inline bint program_turn(Program *p, int stops) noexcept nogil:
    """Wait for something to do, and do it; False when all is over. `stops` is how often the program has been asked to
    stop: once, to finish what is being answered and write the last lines; twice, to end at once."""
    cdef int timeout = -1
    cdef int fd
    if stops and not p.stops:
        p.stop_until = monotonic_ms() + supervisor_patience(&p.supervisor)
    p.stops = stops
    if stops == 1:
        supervisor_stop(&p.supervisor)
    elif stops > 1:
        supervisor_kill(&p.supervisor)
    fd = log_queue_wait_for(&p.log, &timeout)
    if supervisor_is_over(&p.supervisor):
        # a log that refuses its last lines is not waited for, one that may take them soon is
        if fd < 0 or stops > 1 or monotonic_ms() >= p.stop_until:
            return False
        timeout = <int>(p.stop_until - monotonic_ms())
    supervisor_wait(&p.supervisor, fd, timeout)
    program_log(p)
    return True


cdef inline void program_log(Program *p) noexcept nogil:
    cdef int64_t second = 0
    cdef uint64_t count
    cdef Text text
    supervisor_has_pages(&p.supervisor)
    while True:
        count = supervisor_take_pages(&p.supervisor, &second)
        if count == 0:
            break
        log_queue_add_pages(&p.log, second, count)
    while True:
        program_text(p, &text)
        if not supervisor_sandbox_message(&p.supervisor, &text) and not supervisor_death_message(&p.supervisor, &text):
            break
        log_queue_add_message(&p.log, wall_second(), &text)
    log_queue_flush(&p.log)
