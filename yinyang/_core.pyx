"""The extension: the edge between Python and the core. Bytes in, one error mapping, nothing else.

The types and the documentation for readers are in _core.pyi.
"""

from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uint64_t, uint8_t
from libc.string cimport memset

from .core.cli.healthcheck cimport healthcheck
from .core.cli.options cimport (
    ACTION_ERROR, ACTION_HELP, ACTION_SERVE, ACTION_VERSION, OPTION_ACCESS_LOG, OPTION_APP_VERSION,
    OPTION_BODY_TIMEOUT, OPTION_DRAIN, OPTION_HEAD_TIMEOUT, OPTION_HOST, OPTION_IDLE_TIMEOUT, OPTION_NAME,
    OPTION_NAMESPACE, OPTION_NODE, OPTION_PALETTE, OPTION_PLAIN, OPTION_PORT, OPTION_SANDBOX, OPTION_SEND_TIMEOUT,
    OPTION_TITLE, OPTION_WORKERS, OPTION_ZONE, Options, host_name, option_accepts, option_ranges, options_parse,
    text_is_good, text_wanted, usage_message
)
from .core.cli.program cimport Program, program_healthcheck, program_open, program_parse, program_turn
from .core.http.parser cimport (
    FLAG_ASTERISK, FLAG_UNCLEAN, METHOD_HEAD, OUTCOME_ERROR, OUTCOME_READY, OUTCOME_TARGET, Parser as ParserState,
    TARGET_KEPT, Target, http_errors, parser_error_at_end, parser_feed, parser_keeps_alive, parser_next,
    parser_read_accept, target_begin, target_keep, target_kept
)
from .core.http.responses cimport Responses, responses_close
from .core.identity.identity cimport COLOUR_LENGTH, Identity as IdentityState, NAME_MAX, identity_set
from .core.identity.page cimport page_render
from .core.identity.replica cimport Replica
from .core.log.log_write cimport log_write
from .core.os.address cimport Address, address_parse
from .core.os.cpus cimport cpus_usable
from .core.os.listener cimport listener_error_message, listener_host, listener_open, listening_message
from .core.os.sandbox cimport sandbox_is_possible
from .core.os.syscalls cimport ENOSYS, O_CLOEXEC, O_NONBLOCK, close, errno, pipe2, read, write
from .core.routes.table cimport responses_open
from .core.shared.scoreboard cimport Counts, scoreboard_counts
from .core.supervisor.supervisor cimport (
    Supervisor as SupervisorState, WOKEN_BY_CALLER, supervisor_close, supervisor_death_message, supervisor_has_pages,
    supervisor_is_over, supervisor_kill, supervisor_open, supervisor_patience, supervisor_reap_orphans,
    supervisor_sandbox_message, supervisor_start, supervisor_stop, supervisor_take_pages, supervisor_wait
)
from .core.text.buffer cimport Text, text_measure, text_open, text_system_error
from .core.worker.timers cimport limits_set

cdef extern from *:
    """
    #ifndef YINYANG_VERSION
    #error "YINYANG_VERSION must be defined by the build, from pyproject.toml"
    #endif
    """
    const char *YINYANG_VERSION

cdef enum:
    MESSAGE_MAX = 4096

version = YINYANG_VERSION.decode()


cdef int checked(int64_t result) except -1:
    """The core's convention, -errno for failure, into an exception."""
    cdef char words[MESSAGE_MAX]
    cdef Text text
    if result < 0:
        text_open(&text, words, MESSAGE_MAX)
        text_system_error(&text, <int>-result)
        raise OSError(-result, text_decoded(&text))
    return <int>result


cdef str text_decoded(const Text *text):
    return text.data[:min(text.length, text.room)].decode("utf-8", "surrogateescape")


cdef bytes encoded(text):
    """A name or title as the bytes it has on the wire."""
    return bytes(text) if isinstance(text, (bytes, bytearray)) else (<str?>text).encode("utf-8", "surrogateescape")


cdef bytes host_name_bytes():
    cdef char name[NAME_MAX + 1]
    cdef char words[MESSAGE_MAX]
    cdef Text message
    text_open(&message, words, MESSAGE_MAX)
    if not host_name(name, sizeof(name), &message):
        raise ValueError(text_decoded(&message))
    return <bytes>name


# ---- identity and page --------------------------------------------------------------------------------------------

PALETTES = ("original", "distinct")


cdef class Identity:
    cdef bytes _name
    cdef IdentityState _state

    def __init__(self, name=None, palette="original"):
        cdef bytes given = host_name_bytes() if name is None else encoded(name)
        if not 0 < len(given) <= NAME_MAX:
            raise ValueError(f"a name has 1 to {NAME_MAX} bytes, not {len(given)}")
        self._name = given
        identity_set(&self._state, PyBytes_AsString(given), len(given),
                     checked_word("palette", OPTION_PALETTE, palette))

    @property
    def name(self):
        return self._name.decode("utf-8", "surrogateescape")

    @property
    def hash(self):
        return self._state.hash

    @property
    def palette(self):
        return PALETTES[self._state.palette]

    @property
    def colour(self):
        return self.colours[0]

    @property
    def colours(self):
        return tuple([colour[:COLOUR_LENGTH].decode("ascii") for colour in self._state.colours])

    def __eq__(self, other):
        return isinstance(other, Identity) and self.__reduce__() == other.__reduce__()

    def __hash__(self):
        return hash(self._name)

    def __repr__(self):
        return f"Identity(name={self.name!r}, hash={self.hash}, colours={self.colours!r})"

    def __reduce__(self):
        return Identity, (self._name, self.palette)


def identify(name=None, palette="original"):
    return Identity(name, palette)


cdef Replica replica_of(Identity identity, bytes title) except *:
    """It borrows from both."""
    cdef Replica replica
    if 0 in title:
        raise ValueError("a title has no NUL")
    memset(&replica, 0, sizeof(replica))
    replica.identity = identity._state
    replica.title = PyBytes_AsString(title)
    return replica


def render_page(Identity identity not None, title="Go scaling demo"):
    cdef bytes given = encoded(title)
    cdef Replica replica = replica_of(identity, given)
    cdef Text text
    cdef bytes page
    text_measure(&text)
    page_render(&text, &replica)
    page = PyBytes_FromStringAndSize(NULL, text.length)
    text_open(&text, PyBytes_AsString(page), text.length)
    page_render(&text, &replica)
    return page


def render_responses(Identity identity not None, title="Go scaling demo"):
    cdef bytes given = encoded(title)
    cdef Replica replica = replica_of(identity, given)
    cdef Responses responses
    cdef size_t size
    checked(responses_open(&responses, &replica))
    size = responses.size
    responses_close(&responses)
    return size


# ---- framing ------------------------------------------------------------------------------------------------------

cdef class Parser:
    cdef ParserState _state
    cdef uint8_t _target[TARGET_KEPT]
    cdef bint _closed

    def feed(self, const unsigned char[::1] data not None):
        """See _core.pyi."""
        cdef const uint8_t *pos = &data[0] if data.shape[0] else NULL
        cdef const uint8_t *end = pos + data.shape[0]
        cdef Target target
        cdef int outcome = OUTCOME_READY
        found = []
        target_begin(&self._state, &target)
        while not self._closed:
            outcome = parser_feed(&self._state, &pos, end, &target)
            target_keep(&self._state, &target, self._target)
            if outcome == OUTCOME_TARGET:
                parser_read_accept(&self._state)
            elif outcome == OUTCOME_READY:
                found.append(self._framed())
                self._closed = not parser_keeps_alive(&self._state)
                parser_next(&self._state)
            elif outcome == OUTCOME_ERROR:
                found.append(self._refused(self._state.error))
                self._closed = True
            else:
                break
        return found

    cdef _framed(self):
        cdef const ParserState *p = &self._state
        return (
            200, bool(parser_keeps_alive(p)), p.method == METHOD_HEAD, p.minor, p.target_length,
            (<const char *>self._target)[:target_kept(p)], bool(p.flags & FLAG_ASTERISK), bool(p.flags & FLAG_UNCLEAN),
            p.path, p.path_end,
        )

    cdef _refused(self, int error):
        return http_errors[error].status, False, http_errors[error].message.decode()

    def end(self):
        """See _core.pyi."""
        cdef int error = 0 if self._closed else parser_error_at_end(&self._state)
        return self._refused(error) if error else None


# ---- the command line ---------------------------------------------------------------------------------------------

cdef text_or_none(const char *text):
    return None if text == NULL else <bytes>text


def parse_options(arguments):
    cdef list given = [encoded(argument) for argument in arguments]
    cdef const char **pointers = <const char **>PyMem_Malloc((len(given) + 1) * sizeof(char *))
    cdef char words[MESSAGE_MAX]
    cdef Text message
    cdef Options options
    cdef int action, i
    if pointers == NULL:
        raise MemoryError
    memset(&options, 0, sizeof(options))
    text_open(&message, words, MESSAGE_MAX)
    try:
        for i in range(len(given)):
            pointers[i] = PyBytes_AsString(given[i])
        action = options_parse(&options, <int>len(given), pointers, &message)
        if action == ACTION_ERROR:
            raise ValueError(text_decoded(&message))
        if action == ACTION_HELP or action == ACTION_VERSION:
            return "help" if action == ACTION_HELP else "version", {}
        return "serve" if action == ACTION_SERVE else "healthcheck", {
            "host": None if options.texts[OPTION_HOST] == NULL else (<bytes>options.texts[OPTION_HOST]).decode(),
            "port": options.numbers[OPTION_PORT],
            "name": text_or_none(options.texts[OPTION_NAME]),
            "title": <bytes>options.texts[OPTION_TITLE],
            "palette": PALETTES[options.numbers[OPTION_PALETTE]],
            "app_version": text_or_none(options.texts[OPTION_APP_VERSION]),
            "node": text_or_none(options.texts[OPTION_NODE]),
            "namespace": text_or_none(options.texts[OPTION_NAMESPACE]),
            "zone": text_or_none(options.texts[OPTION_ZONE]),
            "plain": bool(options.numbers[OPTION_PLAIN]),
            "workers": options.numbers[OPTION_WORKERS] or None,
            "head_timeout": options.numbers[OPTION_HEAD_TIMEOUT],
            "body_timeout": options.numbers[OPTION_BODY_TIMEOUT],
            "send_timeout": options.numbers[OPTION_SEND_TIMEOUT],
            "idle_timeout": options.numbers[OPTION_IDLE_TIMEOUT],
            "drain": options.numbers[OPTION_DRAIN],
            "sandbox": ("auto", "off", "require")[options.numbers[OPTION_SANDBOX]],
            "access_log": bool(options.numbers[OPTION_ACCESS_LOG]),
        }
    finally:
        PyMem_Free(pointers)


def usage():
    cdef char words[MESSAGE_MAX]
    cdef Text text
    text_open(&text, words, MESSAGE_MAX)
    usage_message(&text)
    return text_decoded(&text)


def check_health(host, int port):
    cdef bytes address = None if host is None else encoded(host)
    cdef const char *pointer = NULL if host is None else PyBytes_AsString(address)
    cdef char words[MESSAGE_MAX]
    cdef Text message
    cdef bint answered
    text_open(&message, words, MESSAGE_MAX)
    with nogil:
        answered = healthcheck(pointer, port, &message)
    return None if answered else text_decoded(&message)


def usable_cpus():
    return cpus_usable()


def write_log_lines(int fd, bytes line not None, uint64_t count, uint64_t offset):
    cdef const char *bytes_of_line = PyBytes_AsString(line)
    cdef size_t length = len(line)
    cdef ssize_t written
    if not length or offset >= length:
        raise ValueError("offset must lie within the line")
    with nogil:
        written = log_write(fd, bytes_of_line, length, count, offset)
    if written < 0:
        checked(written)
    return written


# ---- the supervisor ------------------------------------------------------------------------------------------------

cdef str wanted(int option):
    cdef char words[MESSAGE_MAX]
    cdef Text text
    text_open(&text, words, MESSAGE_MAX)
    text_wanted(&text, &option_ranges[option])
    return text_decoded(&text)


cdef int check_text(str what, int option, bytes text) except -1:
    if not text_is_good(PyBytes_AsString(text), len(text), option_ranges[option].min, option_ranges[option].max):
        raise ValueError(f"the {what} must be {wanted(option)}, not {text!r}")
    return 0


cdef int checked_number(str what, int option, number) except -1:
    if not option_ranges[option].min <= number <= option_ranges[option].max:
        raise ValueError(f"{what} must be {wanted(option)}, not {number}")
    return number


cdef int checked_word(str what, int option, word) except -1:
    cdef bytes given = encoded(word)
    cdef int number = 0
    if not option_accepts(&option_ranges[option], PyBytes_AsString(given), &number):
        raise ValueError(f"{what} must be {wanted(option)}, not {word!r}")
    return number


cdef int checked_ms(str what, int option, seconds) except -1:
    """Here, other than on the command line, a second may be cut into as many as 1000 pieces."""
    least = 0.001 if option_ranges[option].min else 0
    if not least <= seconds <= option_ranges[option].max:
        raise ValueError(f"{what} must be from {least} to {option_ranges[option].max} seconds, not {seconds}")
    return <int>(seconds * 1000)


cdef class Supervisor:
    cdef SupervisorState _state
    cdef Replica _replica
    cdef readonly Identity identity
    cdef list _texts  # that the replica borrows
    cdef bytes _host
    cdef int _listener
    cdef int _waker[2]  # the ends of a pipe

    def __cinit__(self):
        self._listener = self._waker[0] = self._waker[1] = -1

    def __init__(self, *, host, int port, name, title, palette, app_version, node, namespace, zone, plain, workers,
                 access_log, head_timeout, body_timeout, send_timeout, idle_timeout, drain, sandbox):
        cdef bytes name_bytes = host_name_bytes() if name is None else encoded(name)
        cdef int count = cpus_usable() if workers is None else checked_number("workers", OPTION_WORKERS, workers)
        cdef Address address
        cdef int i
        if self._listener >= 0:
            raise RuntimeError("a supervisor is opened once")
        check_text("name", OPTION_NAME, name_bytes)
        self._texts = []
        self._replica.title = self._lasting("title", OPTION_TITLE, title)
        self._replica.plain = bool(plain)
        about = {"app_version": app_version, "node": node, "namespace": namespace, "zone": zone}  # in their order
        for i, (what, text) in enumerate(about.items()):
            if text is not None:
                self._replica.about[i] = self._lasting(what, OPTION_APP_VERSION + i, text)
        checked_number("port", OPTION_PORT, port)
        limits_set(
            &self._state.limits, checked_ms("head_timeout", OPTION_HEAD_TIMEOUT, head_timeout),
            checked_ms("body_timeout", OPTION_BODY_TIMEOUT, body_timeout),
            checked_ms("send_timeout", OPTION_SEND_TIMEOUT, send_timeout),
            checked_ms("idle_timeout", OPTION_IDLE_TIMEOUT, idle_timeout),
        )
        self._state.drain = checked_ms("drain", OPTION_DRAIN, drain)
        self._state.sandbox = checked_word("sandbox", OPTION_SANDBOX, sandbox)
        self._check_sandbox()
        self._host = None if host is None else encoded(host)
        if self._host is not None and not address_parse(&address, PyBytes_AsString(self._host), port):
            raise ValueError(f"host must be {wanted(OPTION_HOST)}, not {host!r}")
        self.identity = Identity(name_bytes, palette)
        self._replica.identity = self.identity._state
        self._listen(port)
        if pipe2(self._waker, O_CLOEXEC | O_NONBLOCK) < 0:
            checked(-errno)
        checked(supervisor_open(&self._state, &self._replica, self._listener, count, bool(access_log), self._waker[0]))

    cdef const char *_lasting(self, str what, int option, text) except NULL:
        """A text that stays as long as this object."""
        cdef bytes given = encoded(text)
        check_text(what, option, given)
        self._texts.append(given)
        return PyBytes_AsString(given)

    cdef const char *_given(self):
        return NULL if self._host is None else PyBytes_AsString(self._host)

    cdef int _check_sandbox(self) except -1:
        cdef char words[MESSAGE_MAX]
        cdef Text text
        text_open(&text, words, MESSAGE_MAX)
        if not sandbox_is_possible(self._state.sandbox, &text):
            raise OSError(ENOSYS, text_decoded(&text))
        return 0

    cdef int _listen(self, int port) except -1:
        cdef char words[MESSAGE_MAX]
        cdef Text text
        self._listener = listener_open(self._given(), port)
        if self._listener < 0:
            text_open(&text, words, MESSAGE_MAX)
            listener_error_message(&text, -self._listener, self._given(), port)
            raise OSError(-self._listener, text_decoded(&text))
        return 0

    def __dealloc__(self):
        self._close()

    cdef void _close(self) noexcept:
        cdef int fd
        if self._state.scoreboard != NULL:
            with nogil:
                supervisor_close(&self._state)
        for fd in self._listener, self._waker[0], self._waker[1]:
            if fd >= 0:
                close(fd)
        self._listener = self._waker[0] = self._waker[1] = -1

    def close(self):
        self._close()

    def start(self):
        cdef int error
        with nogil:
            error = supervisor_start(&self._state)
        checked(error)

    def wait(self, int log=-1, int timeout=-1):
        cdef char bytes[64]
        with nogil:
            if supervisor_wait(&self._state, log, timeout) & WOKEN_BY_CALLER:
                while read(self._waker[0], bytes, sizeof(bytes)) == sizeof(bytes):
                    pass

    def take(self):
        cdef int64_t second = 0
        cdef uint64_t count
        taken = {}
        supervisor_has_pages(&self._state)
        while True:
            count = supervisor_take_pages(&self._state, &second)
            if count == 0:
                return sorted(taken.items())
            taken[second] = taken.get(second, 0) + count

    def sandboxed(self):
        cdef char words[MESSAGE_MAX]
        cdef Text text
        text_open(&text, words, MESSAGE_MAX)
        return text_decoded(&text) if supervisor_sandbox_message(&self._state, &text) else None

    def deaths(self):
        cdef char words[MESSAGE_MAX]
        cdef Text text
        told = []
        while True:
            text_open(&text, words, MESSAGE_MAX)
            if not supervisor_death_message(&self._state, &text):
                return told
            told.append(text_decoded(&text))

    def stop(self):
        supervisor_stop(&self._state)

    def kill(self):
        supervisor_kill(&self._state)

    def reap_orphans(self):
        supervisor_reap_orphans(&self._state)

    def wake(self):
        if write(self._waker[1], b"", 1) < 0:
            return  # the pipe is full of such bytes, which is as good

    @property
    def waker(self):
        return self._waker[1]

    @property
    def is_over(self):
        return supervisor_is_over(&self._state)

    @property
    def patience(self):
        return supervisor_patience(&self._state) / 1000.0

    @property
    def address(self):
        cdef int port = 0
        cdef const char *host = listener_host(self._listener, self._given(), &port)
        return host.decode("ascii"), checked(port)

    @property
    def listening(self):
        cdef char words[MESSAGE_MAX]
        cdef Text text
        text_open(&text, words, MESSAGE_MAX)
        listening_message(&text, self._listener, self._given(), self._state.workers)
        return text_decoded(&text)

    def counts(self):
        cdef Counts counts
        if self._state.scoreboard == NULL:
            return 0, 0, 0
        counts = scoreboard_counts(self._state.scoreboard)
        return counts.pages, counts.accepted, counts.open

    def pids(self):
        return [self._state.processes[i].pid for i in range(self._state.workers)]


# ---- the entry points of csrc/main.c, which have no Python in them ------------------------------------------------

cdef extern from "yinyang.h" nogil:
    struct yinyang:
        pass


cdef public int yinyang_parse(yinyang **program, int count, const char **arguments) noexcept nogil:
    return program_parse(<Program **>program, count, arguments, YINYANG_VERSION)


cdef public const char *yinyang_message(const yinyang *program) noexcept nogil:
    return (<const Program *>program).words


cdef public bint yinyang_healthcheck(yinyang *program) noexcept nogil:
    return program_healthcheck(<Program *>program)


cdef public bint yinyang_open(yinyang *program, int log, int caller_fd) noexcept nogil:
    return program_open(<Program *>program, log, caller_fd)


cdef public bint yinyang_turn(yinyang *program, int stops) noexcept nogil:
    return program_turn(<Program *>program, stops)


cdef public void yinyang_reap_orphans(yinyang *program) noexcept nogil:
    supervisor_reap_orphans(&(<Program *>program).supervisor)
