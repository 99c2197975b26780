"""The extension: the edge between Python and the core. Bytes in, one error mapping, nothing else.

The types and the documentation for readers are in _core.pyi.
"""

from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from .core.answers cimport Answers, answers_close, answers_open
from .core.cpus cimport cpus_usable
from .core.crew cimport (
    Crew as CrewState, WORKERS_MOST, crew_close, crew_has_news, crew_kill, crew_next_death, crew_open, crew_start,
    crew_stop, crew_take, crew_wait, crew_wake
)
from .core.http1 cimport (
    Framing as FramingState, METHOD_HEAD, OUTCOME_MORE, OUTCOME_READY, SEEN_ASTERISK, SEEN_UNCLEAN,
    TARGET_KEPT, Target, http1_cut_off, http1_feed, http1_keeps, http1_next, target_keep, target_kept
)
from .core.identity cimport COLOUR_LENGTH, Identity as IdentityState, NAME_MOST, identity_of
from .core.lines cimport lines_write
from .core.listener cimport (
    Address, address_parse, listener_address, listener_open, listener_wrong_words, listening_words
)
from .core.options cimport (
    ACTION_HELP, ACTION_REFUSE, ACTION_SERVE, NAME_WANTED, Options, TITLE_WANTED, name_is_good, options_parse,
    title_is_good, usage_words
)
from .core.page cimport page_render
from .core.system cimport close, gethostname
from .core.text cimport Text, text_into, text_measure

cdef extern from "errors.h" nogil:
    struct wrong_answer:
        int status
        const char *words
    const wrong_answer wrong_answers[64]

cdef extern from *:
    """
    #ifndef YINYANG_VERSION
    #error "YINYANG_VERSION must be defined by the build, from pyproject.toml"
    #endif
    """
    const char *YINYANG_VERSION

cdef enum:
    WORDS_MOST = 4096

version = YINYANG_VERSION.decode()


cdef int checked(int64_t result) except -1:
    """The core's convention, -errno for failure, into an exception."""
    if result < 0:
        raise OSError(-result, os_strerror(<int>-result))
    return <int>result


cdef str os_strerror(int error):
    import os
    return os.strerror(error)


cdef str text_decoded(const Text *text):
    return text.at[:min(text.length, text.room)].decode("utf-8", "surrogateescape")


cdef bytes encoded(text):
    """A name or title as the bytes it has on the wire."""
    return bytes(text) if isinstance(text, (bytes, bytearray)) else (<str?>text).encode("utf-8", "surrogateescape")


cdef bytes host_name():
    cdef char buffer[NAME_MOST + 1]
    memset(buffer, 0, sizeof(buffer))
    checked(-1 if gethostname(buffer, NAME_MOST) < 0 else 0)
    if buffer[0] == 0:
        raise ValueError("this host has no name; give one with --name")
    return <bytes>buffer


# ---- identity and page --------------------------------------------------------------------------------------------

cdef class Identity:
    cdef bytes _name
    cdef IdentityState _state

    def __init__(self, name=None):
        cdef bytes given = host_name() if name is None else encoded(name)
        if not 0 < len(given) <= NAME_MOST:
            raise ValueError(f"a name has 1 to {NAME_MOST} bytes, not {len(given)}")
        self._name = given
        self._state = identity_of(PyBytes_AsString(given), len(given))

    @property
    def name(self):
        return self._name.decode("utf-8", "surrogateescape")

    @property
    def hash(self):
        return self._state.hash

    @property
    def colour(self):
        return self._state.colour[:COLOUR_LENGTH].decode("ascii")

    def __eq__(self, other):
        return isinstance(other, Identity) and self._name == (<Identity>other)._name

    def __hash__(self):
        return hash(self._name)

    def __repr__(self):
        return f"Identity(name={self.name!r}, hash={self.hash}, colour={self.colour!r})"

    def __reduce__(self):
        return Identity, (self._name,)


def identify(name=None):
    return Identity(name)


def render_page(Identity identity not None, title="Go scaling demo"):
    cdef bytes given = encoded(title)
    cdef const char *bytes_of_title = PyBytes_AsString(given)
    cdef Text text = text_measure()
    cdef bytes page
    page_render(&text, &identity._state, bytes_of_title, len(given))
    page = PyBytes_FromStringAndSize(NULL, text.length)
    text = text_into(PyBytes_AsString(page), text.length)
    page_render(&text, &identity._state, bytes_of_title, len(given))
    return page


# ---- framing ------------------------------------------------------------------------------------------------------

cdef class Framing:
    cdef FramingState _state
    cdef uint8_t _target[TARGET_KEPT]

    def feed(self, const unsigned char[::1] data not None):
        """See _core.pyi."""
        cdef const uint8_t *at = &data[0] if data.shape[0] else NULL
        cdef const uint8_t *end = at + data.shape[0]
        cdef FramingState *f = &self._state
        cdef Target target
        cdef int outcome
        found = []
        while not f.wrong:
            outcome = http1_feed(f, &at, end, &target)
            target_keep(f, &target, self._target)
            if outcome == OUTCOME_MORE:
                break
            if outcome == OUTCOME_READY:
                found.append((
                    200, bool(http1_keeps(f)), f.method == METHOD_HEAD, f.minor, f.target,
                    (<const char *>self._target)[:target_kept(f)], bool(f.seen & SEEN_ASTERISK),
                    bool(f.seen & SEEN_UNCLEAN), f.path, f.path_end,
                ))
                if not http1_keeps(f):
                    f.wrong = 255  # nothing is read after the last request
                else:
                    http1_next(f)
            else:
                found.append((wrong_answers[f.wrong].status, False, wrong_answers[f.wrong].words.decode()))
        return found

    def end(self):
        """See _core.pyi."""
        cdef int wrong = http1_cut_off(&self._state) if not self._state.wrong else 0
        return (wrong_answers[wrong].status, False, wrong_answers[wrong].words.decode()) if wrong else None


# ---- the command line ---------------------------------------------------------------------------------------------

def parse_options(arguments):
    cdef list given = [encoded(argument) for argument in arguments]
    cdef const char **pointers = <const char **>malloc((len(given) + 1) * sizeof(char *))
    cdef char words[WORDS_MOST]
    cdef Text wrong = text_into(words, WORDS_MOST)
    cdef Options options
    cdef int action, i
    if pointers == NULL:
        raise MemoryError
    try:
        for i in range(len(given)):
            pointers[i] = PyBytes_AsString(given[i])
        action = options_parse(&options, <int>len(given), pointers, &wrong)
        if action == ACTION_REFUSE:
            raise ValueError(text_decoded(&wrong))
        if action != ACTION_SERVE:
            return "help" if action == ACTION_HELP else "version", {}
        return "serve", {
            "host": None if options.host == NULL else (<bytes>options.host).decode(),
            "port": options.port,
            "name": None if options.name == NULL else <bytes>options.name,
            "title": <bytes>options.title,
            "workers": options.workers or None,
            "access_log": bool(options.access_log),
        }
    finally:
        free(pointers)


def usage():
    cdef char words[WORDS_MOST]
    cdef Text text = text_into(words, WORDS_MOST)
    usage_words(&text)
    return text_decoded(&text)


def usable_cpus():
    return cpus_usable()


def write_lines(int fd, bytes line not None, uint64_t count, uint64_t offset):
    cdef const char *bytes_of_line = PyBytes_AsString(line)
    cdef size_t length = len(line)
    cdef ssize_t written
    if not length or offset >= length:
        raise ValueError("offset must lie within the line")
    with nogil:
        written = lines_write(fd, bytes_of_line, length, count, offset)
    if written < 0:
        checked(written)
    return written


# ---- the crew -----------------------------------------------------------------------------------------------------

cdef class Crew:
    cdef CrewState _state
    cdef Answers _answers
    cdef readonly Identity identity
    cdef int _listener

    def __cinit__(self):
        self._listener = -1

    def __init__(self, *, host, int port, name, title, workers, access_log):
        cdef bytes name_bytes = host_name() if name is None else encoded(name)
        cdef bytes title_bytes = encoded(title)
        cdef bytes host_bytes = None if host is None else encoded(host)
        cdef int count = cpus_usable() if workers is None else workers
        cdef Address address
        if self._listener >= 0:
            raise RuntimeError("a crew is opened once")
        if not name_is_good(PyBytes_AsString(name_bytes), len(name_bytes)):
            raise ValueError(f"the name must be {NAME_WANTED().decode()}, not {name_bytes!r}")
        if not title_is_good(PyBytes_AsString(title_bytes), len(title_bytes)):
            raise ValueError(f"the title must be {TITLE_WANTED().decode()}, not {title_bytes!r}")
        if not 1 <= count <= WORKERS_MOST:
            raise ValueError(f"workers must be a number from 1 to {WORKERS_MOST}, not {count}")
        if not 0 <= port <= 65535:
            raise ValueError(f"port must be a number from 0 to 65535, not {port}")
        if host_bytes is not None and not address_parse(&address, PyBytes_AsString(host_bytes), port):
            raise ValueError(f"host must be a numeric address of this host such as 127.0.0.1 or ::1, not {host!r}")
        self.identity = Identity(name_bytes)
        self._listen(host_bytes, port)
        checked(answers_open(&self._answers, &self.identity._state, PyBytes_AsString(title_bytes), len(title_bytes)))
        checked(crew_open(&self._state, &self._answers, self._listener, count, bool(access_log)))

    cdef int _listen(self, bytes host, int port) except -1:
        cdef const char *address = NULL if host is None else PyBytes_AsString(host)
        cdef char words[WORDS_MOST]
        cdef Text text = text_into(words, WORDS_MOST)
        self._listener = listener_open(address, port)
        if self._listener < 0:
            listener_wrong_words(&text, -self._listener, address, port)
            raise OSError(-self._listener, text_decoded(&text))
        return 0

    def __dealloc__(self):
        self._close()

    cdef void _close(self) noexcept:
        if self._state.board != NULL:
            with nogil:
                crew_close(&self._state)
        answers_close(&self._answers)
        if self._listener >= 0:
            close(self._listener)
            self._listener = -1

    def close(self):
        self._close()

    def start(self):
        cdef int error
        with nogil:
            error = crew_start(&self._state)
        checked(error)

    def wait(self, int log=-1, int most=-1):
        with nogil:
            crew_wait(&self._state, log, most)

    def take(self):
        cdef int64_t second = 0
        cdef uint64_t count
        taken = {}
        crew_has_news(&self._state)
        while True:
            count = crew_take(&self._state, &second)
            if count == 0:
                return sorted(taken.items())
            taken[second] = taken.get(second, 0) + count

    def deaths(self):
        cdef char words[WORDS_MOST]
        cdef Text text
        told = []
        while True:
            text = text_into(words, WORDS_MOST)
            if not crew_next_death(&self._state, &text):
                return told
            told.append(text_decoded(&text))

    def stop(self):
        crew_stop(&self._state)

    def kill(self):
        crew_kill(&self._state)

    def wake(self):
        crew_wake(self._state.waker[1])

    @property
    def waker(self):
        return self._state.waker[1]

    @property
    def running(self):
        return self._state.running

    @property
    def address(self):
        cdef char words[WORDS_MOST]
        cdef Text text = text_into(words, WORDS_MOST)
        cdef int port = checked(listener_address(self._listener, &text))
        return text_decoded(&text), port

    @property
    def listening(self):
        cdef char words[WORDS_MOST]
        cdef Text text = text_into(words, WORDS_MOST)
        listening_words(&text, self._listener, self._state.workers)
        return text_decoded(&text)

    def counts(self):
        cdef uint64_t pages = 0, accepted = 0, open_now = 0
        cdef int i
        if self._state.board != NULL:
            for i in range(self._state.workers):
                pages += self._state.board.seats[i].pages
                accepted += self._state.board.seats[i].accepted
                open_now += self._state.board.seats[i].open
        return pages, accepted, open_now

    def pids(self):
        return [self._state.members[i].pid for i in range(self._state.workers)]
