"""The server as a program without Python: options, crew and log in one place. What server.py is to Python."""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport strlen

from .answers cimport Answers, answers_open
from .cpus cimport cpus_usable
from .crew cimport (
    Crew, crew_has_news, crew_kill, crew_next_death, crew_open, crew_start, crew_stop, crew_take, crew_wait
)
from .healthcheck cimport healthcheck
from .identity cimport COLOUR_LENGTH, Identity, NAME_MOST, identity_of
from .ledger cimport Ledger, ledger_add_message, ledger_add_pages, ledger_open, ledger_pay, ledger_wants
from .listener cimport listener_open, listener_wrong_words, listening_words
from .options cimport (
    ACTION_HELP, ACTION_REFUSE, ACTION_VERSION, Options, host_name, options_parse, usage_words
)
from .system cimport ENOMEM, MAP_PRIVATE, map_memory, monotonic_ms, wall_second
from .text cimport Text, text_into, text_put, text_string, text_system_error

cdef enum:
    PROGRAM_WORDS = 4096
    STOP_MOST = 8000  # ms after which a log whose reader has stopped is not waited for any longer

cdef struct Program:
    Options options
    char host[NAME_MOST + 1]
    Identity identity
    Answers answers
    Crew crew
    Ledger ledger
    int stops  # how often it was asked to
    int64_t stop_until  # ms
    char pages[512]
    char words[PROGRAM_WORDS]  # NUL at the end, as everything is zeros before


cdef inline Text program_words(Program *program) noexcept nogil:
    return text_into(program.words, PROGRAM_WORDS - 1)


cdef inline int program_parse(Program **program, int count, const char **arguments, const char *version) noexcept nogil:
    """Make a program of the command line and the environment; an Action. What there is to tell is in its words."""
    cdef Program *p = <Program *>map_memory(sizeof(Program), MAP_PRIVATE)
    cdef Text words
    cdef int action
    program[0] = p
    if p == NULL:
        return ACTION_REFUSE
    words = program_words(p)
    action = options_parse(&p.options, count, arguments, &words)
    if action == ACTION_HELP:
        usage_words(&words)
    elif action == ACTION_VERSION:
        text_string(&words, "yinyang ")
        text_string(&words, version)
        text_string(&words, "\n")
    return action


cdef inline bint program_healthcheck(Program *p) noexcept nogil:
    cdef Text words = program_words(p)
    return healthcheck(p.options.host, p.options.port, &words)


cdef inline bint program_open(Program *p, int log, int waker) noexcept nogil:
    """Begin to serve, with a log to the descriptor `log`; False, with words, if that cannot be. program_turn returns
    when `waker` can be read."""
    cdef Text words = program_words(p)
    cdef int listener, error
    if p.options.name == NULL:
        if not host_name(p.host, &words):
            return False
        p.options.name = p.host
    p.identity = identity_of(p.options.name, strlen(p.options.name))
    listener = listener_open(p.options.host, p.options.port)
    if listener < 0:
        listener_wrong_words(&words, -listener, p.options.host, p.options.port)
        return False
    error = program_serve(p, listener, log, waker)
    if error:
        text_system_error(&words, -error)
    return error == 0


cdef inline int program_serve(Program *p, int listener, int log, int waker) noexcept nogil:
    """0 or -errno."""
    cdef int workers = p.options.workers if p.options.workers else cpus_usable()
    cdef int error = answers_open(&p.answers, &p.identity, p.options.title, strlen(p.options.title))
    if error == 0:
        error = ledger_open(&p.ledger, log, program_message(p, p.pages, "Served"))
    if error == 0:
        error = crew_open(&p.crew, &p.answers, listener, workers, p.options.access_log, waker)
    if error == 0:
        error = crew_start(&p.crew)
    if error == 0:
        program_greet(p, listener)
    return error


cdef inline Text program_message(const Program *p, char *into, const char *verb) noexcept nogil:
    cdef Text text = text_into(into, sizeof(p.pages))
    text_string(&text, verb)
    text_string(&text, " image, host: ")
    text_put(&text, p.identity.name, p.identity.length)
    text_string(&text, ", colour: ")
    text_put(&text, p.identity.colour, COLOUR_LENGTH)
    return text


cdef inline void program_greet(Program *p, int listener) noexcept nogil:
    """The first lines of the log."""
    cdef int64_t now = wall_second()
    cdef Text text = program_message(p, p.words, "Serving")
    ledger_add_message(&p.ledger, now, &text)
    text = program_words(p)
    listening_words(&text, listener, p.crew.workers)
    ledger_add_message(&p.ledger, now, &text)
    ledger_pay(&p.ledger)


cdef inline bint program_turn(Program *p, int stops) noexcept nogil:
    """Wait for something to do, and do it; False when all is over. `stops` is how often the program has been asked to
    stop: once, to finish what is being answered and write the last lines; twice, to end at once."""
    cdef int most = -1
    cdef int fd
    if stops and not p.stops:
        p.stop_until = monotonic_ms() + STOP_MOST
    p.stops = stops
    if stops == 1:
        crew_stop(&p.crew)
    elif stops > 1:
        crew_kill(&p.crew)
    fd = ledger_wants(&p.ledger, &most)
    if stops and not p.crew.running:
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
        text = program_words(p)
        if not crew_next_death(&p.crew, &text):
            break
        ledger_add_message(&p.ledger, wall_second(), &text)
    ledger_pay(&p.ledger)
