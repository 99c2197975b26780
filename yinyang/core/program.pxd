"""The server as a program without Python: options, crew and log in one place. What server.py is to Python."""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport strlen

from .cpus cimport cpus_usable
from .crew cimport (
    Crew, crew_has_news, crew_is_over, crew_kill, crew_next_death, crew_open, crew_patience, crew_sandboxed, crew_start,
    crew_stop, crew_take, crew_wait
)
from .healthcheck cimport healthcheck
from .identity cimport NAME_MOST, identity_set
from .ledger cimport Ledger, ledger_add_message, ledger_add_pages, ledger_open, ledger_pay, ledger_wants
from .listener cimport listener_open, listener_wrong_words, listening_words
from .options cimport (
    ACTION_HELP, ACTION_REFUSE, ACTION_VERSION, OPTION_ACCESS_LOG, OPTION_BODY_TIMEOUT, OPTION_DRAIN,
    OPTION_APP_VERSION, OPTION_HEAD_TIMEOUT, OPTION_HOST, OPTION_IDLE_TIMEOUT, OPTION_NAME, OPTION_PALETTE,
    OPTION_PLAIN, OPTION_PORT, OPTION_SANDBOX, OPTION_SEND_TIMEOUT, OPTION_TITLE, OPTION_WORKERS, Options, host_name,
    options_parse, usage_words
)
from .replica cimport ABOUTS, Replica
from .sandbox cimport SANDBOX_OFF, SANDBOX_REQUIRE, sandbox_enter, sandbox_is_possible
from .system cimport MAP_PRIVATE, map_memory, monotonic_ms, wall_second
from .text cimport Text, text_format, text_open, text_system_error
from .waits cimport limits_set

cdef enum:
    PROGRAM_WORDS = 4096

cdef struct Program:  # what is large comes last, so that the code reaches the rest with short offsets
    int stops  # how often it was asked to
    int64_t stop_until  # ms: a log whose reader has stopped is not waited for any longer
    Replica replica
    Crew crew
    Ledger ledger
    Options options
    char host[NAME_MOST + 1]
    char pages[512]
    char words[PROGRAM_WORDS]  # NUL at the end, as everything is zeros before


cdef inline void program_words(Program *program, Text *words) noexcept nogil:
    text_open(words, program.words, PROGRAM_WORDS - 1)


cdef inline int program_parse(Program **program, int count, const char **arguments, const char *version) noexcept nogil:
    """Make a program of the command line and the environment; an Action. What there is to tell is in its words."""
    cdef Program *p = <Program *>map_memory(sizeof(Program), MAP_PRIVATE)
    cdef Text words
    cdef int action
    program[0] = p
    if p == NULL:
        return ACTION_REFUSE
    program_words(p, &words)
    action = options_parse(&p.options, count, arguments, &words)
    if action == ACTION_HELP:
        usage_words(&words)
    elif action == ACTION_VERSION:
        text_format(&words, "yinyang %s\n", version)
    return action


cdef inline bint program_healthcheck(Program *p) noexcept nogil:
    cdef Text words
    program_words(p, &words)
    return healthcheck(p.options.texts[OPTION_HOST], p.options.numbers[OPTION_PORT], &words)


cdef inline bint program_open(Program *p, int log, int waker) noexcept nogil:
    """Begin to serve, with a log to the descriptor `log`; False, with words, if that cannot be. program_turn returns
    when `waker` can be read."""
    cdef Text words
    cdef const char *host = p.options.texts[OPTION_HOST]
    cdef const char *name = p.options.texts[OPTION_NAME]
    cdef int port = p.options.numbers[OPTION_PORT]
    cdef int listener, error
    program_words(p, &words)
    if not sandbox_is_possible(p.options.numbers[OPTION_SANDBOX], &words):
        return False
    if name == NULL:
        name = p.host
        if not host_name(p.host, sizeof(p.host), &words):
            return False
    program_describe(p, name)
    listener = listener_open(host, port)
    if listener < 0:
        listener_wrong_words(&words, -listener, host, port)
        return False
    error = program_serve(p, listener, log, waker)
    if error:
        text_system_error(&words, -error)
    return error == 0


cdef inline void program_describe(Program *p, const char *name) noexcept nogil:
    cdef int i
    identity_set(&p.replica.identity, name, strlen(name), p.options.numbers[OPTION_PALETTE])
    p.replica.title = p.options.texts[OPTION_TITLE]
    p.replica.plain = p.options.numbers[OPTION_PLAIN]
    for i in range(ABOUTS):
        p.replica.about[i] = p.options.texts[OPTION_APP_VERSION + i]


cdef inline int program_serve(Program *p, int listener, int log, int waker) noexcept nogil:
    """0 or -errno."""
    cdef const int *numbers = p.options.numbers
    cdef int workers = numbers[OPTION_WORKERS] if numbers[OPTION_WORKERS] else cpus_usable()
    cdef int error = ledger_open(&p.ledger, log)
    limits_set(&p.crew.limits, numbers[OPTION_HEAD_TIMEOUT] * 1000, numbers[OPTION_BODY_TIMEOUT] * 1000,
               numbers[OPTION_SEND_TIMEOUT] * 1000, numbers[OPTION_IDLE_TIMEOUT] * 1000)
    p.crew.drain = numbers[OPTION_DRAIN] * 1000
    p.crew.sandbox = numbers[OPTION_SANDBOX]
    if error == 0:
        error = crew_open(&p.crew, &p.replica, listener, workers, numbers[OPTION_ACCESS_LOG], waker)
    if error == 0 and p.crew.sandbox != SANDBOX_OFF:
        p.crew.guards = sandbox_enter(True, p.crew.sandbox == SANDBOX_REQUIRE)
        error = min(p.crew.guards, 0)
    if error == 0:
        error = crew_start(&p.crew)
    if error == 0:
        program_greet(p, listener)
    return error


cdef inline void program_message(const Program *p, Text *text, const char *verb) noexcept nogil:
    text_format(text, "%s image, host: %s, colour: %s", verb, p.replica.identity.name, p.replica.identity.colours[0])


cdef inline void program_greet(Program *p, int listener) noexcept nogil:
    """The first lines of the log."""
    cdef int64_t now = wall_second()
    cdef Text text
    text_open(&p.ledger.pages, p.pages, sizeof(p.pages))
    program_message(p, &p.ledger.pages, "Served")
    program_words(p, &text)
    program_message(p, &text, "Serving")
    ledger_add_message(&p.ledger, now, &text)
    program_words(p, &text)
    listening_words(&text, listener, p.options.texts[OPTION_HOST], p.crew.workers)
    ledger_add_message(&p.ledger, now, &text)
    ledger_pay(&p.ledger)


cdef inline bint program_turn(Program *p, int stops) noexcept nogil:
    """Wait for something to do, and do it; False when all is over. `stops` is how often the program has been asked to
    stop: once, to finish what is being answered and write the last lines; twice, to end at once."""
    cdef int most = -1
    cdef int fd
    if stops and not p.stops:
        p.stop_until = monotonic_ms() + crew_patience(&p.crew)
    p.stops = stops
    if stops == 1:
        crew_stop(&p.crew)
    elif stops > 1:
        crew_kill(&p.crew)
    fd = ledger_wants(&p.ledger, &most)
    if crew_is_over(&p.crew):
        # a log that refuses its last lines is not waited for, one that may take them soon is
        if fd < 0 or stops > 1 or monotonic_ms() >= p.stop_until:
            return False
        most = <int>(p.stop_until - monotonic_ms())
    crew_wait(&p.crew, fd, most)
    program_log(p)
    return True


cdef inline void program_log(Program *p) noexcept nogil:
    cdef int64_t second = 0
    cdef uint64_t count
    cdef Text text
    crew_has_news(&p.crew)
    while True:
        count = crew_take(&p.crew, &second)
        if count == 0:
            break
        ledger_add_pages(&p.ledger, second, count)
    while True:
        program_words(p, &text)
        if not crew_sandboxed(&p.crew, &text) and not crew_next_death(&p.crew, &text):
            break
        ledger_add_message(&p.ledger, wall_second(), &text)
    ledger_pay(&p.ledger)
