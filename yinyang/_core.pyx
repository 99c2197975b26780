"""The extension: the edge between Python and the core. Bytes in, one error mapping, nothing else.

The types and the documentation for readers are in _core.pyi.
"""

from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stddef cimport wchar_t
from libc.stdint cimport int64_t, uint64_t, uint8_t
from libc.string cimport memcpy, memset

from .core.cli.healthcheck cimport healthcheck
from .core.cli.options cimport (
    ACTION_ERROR, ACTION_HELP, ACTION_SERVE, ACTION_VERSION, options_parse, usage_message
)
from .core.cli.program cimport Program, program_healthcheck, program_open, program_parse, program_turn, program_worker
from .core.config.config cimport (
    Config, HOST_NAME_MAX, KIND_ADDRESS, KIND_NUMBER, KIND_SECONDS, KIND_SHARE, KIND_SPAN, KIND_SWITCH, KIND_TEXT,
    KIND_WORD, OPTION_COUNT, OPTION_NAME, Option, config_complete, config_set, config_set_defaults, host_name,
    is_setting, option_table, span_high, span_low, text_expected, word_parse
)
from .core.http.parser cimport (
    FLAG_ASTERISK, FLAG_UNCLEAN, METHOD_HEAD, OUTCOME_ERROR, OUTCOME_READY, OUTCOME_TARGET, Parser as ParserState,
    TARGET_KEPT, Target, http_errors, parser_error_at_end, parser_feed, parser_keeps_alive, parser_next,
    parser_read_accept, target_begin, target_keep, target_kept
)
from .core.http.responses cimport Responses, responses_close
from .core.identity.identity cimport COLOUR_LENGTH, Identity as IdentityState, NAME_MAX, identity_set
from .core.identity.page cimport page_render
from .core.identity.replica cimport Replica, replica_set
from .core.log.log_queue cimport (
    LogQueue as LogQueueState, log_queue_add, log_queue_close, log_queue_flush, log_queue_open, log_queue_wait_for
)
from .core.log.timezone cimport Timezone, timezone_close, timezone_open
from .core.os.address cimport Address, address_port, text_address, text_url
from .core.os.cpus cimport cpus_usable
from .core.os.listener cimport (
    NO_LISTENER, listener_address, listener_adopt, listener_error_message, listener_inherited, listener_local_address,
    listener_open
)
from .core.os.sandbox cimport sandbox_is_possible
from .core.os.syscalls cimport (
    CALL_PIPE, ECHILD, ENOSYS, O_CLOEXEC, O_NONBLOCK, _exit, close, errno, getpid, monotonic_us, pipe2, read, write
)
from .core.routes.table cimport responses_open
from .core.shared.scoreboard cimport Counts, scoreboard_close, scoreboard_counts, scoreboard_set_began
from .core.supervisor.messages cimport supervisor_error_message
from .core.supervisor.reap cimport supervisor_reap_orphans
from .core.supervisor.server cimport (
    LogRecord, Server as ServerState, server_has_failed, server_next_record, server_wait, server_write_log
)
from .core.supervisor.supervisor cimport (
    supervisor_close, supervisor_open, supervisor_set_ready, supervisor_skip_drain, supervisor_start
)
from .core.text.buffer cimport Text, text_measure, text_open, text_system_error
from .core.verdict.evidence cimport (
    Evidence as EvidenceState, NO_SOURCE, SOURCES_MAX, Sample, TIE_NONE, evidence_add, evidence_forget,
    evidence_open, may_be_gone
)
from .core.verdict.verdict cimport STATUS_END, Verdict, verdict_find
from .core.verdict.words cimport FAILURE_KINDS, Name, Naming, failure_words, text_detail, text_headline, verdict_kind
from .core.watch.answer cimport (
    ANSWER_CUT, ANSWER_DONE, ANSWER_MAX, ANSWER_MORE, ANSWER_NOT_HTTP, ANSWER_TOO_LARGE, Answer, Span, answer_begin,
    answer_cookie, answer_end, answer_open, answer_parse
)
from .core.watch.cookies cimport CookieJar as CookieJarState, jar_choose, jar_open, jar_store
from .core.watch.describe cimport answer_describe, label_set
from .core.watch.expectations cimport (
    expectation_count, expectation_holds, text_closing, text_expected_words, text_junit, text_seen_words
)
from .core.watch.exporter cimport text_watch_metrics
from .core.watch.groups cimport by_word
from .core.watch.options cimport (
    NOT_GIVEN, WATCH_ERROR, WATCH_RUN, WATCH_SHOW_HELP, WatchOptions as WatchOptionsState, watch_options_parse,
    watch_usage
)
from .core.watch.report cimport text_figures, text_report, text_run_line, text_sample_line, text_summary_line
from .core.watch.run cimport watch_main
from .core.watch.sample cimport Described, Label, US_PER_MS, US_PER_SECOND, WatchSample
from .core.watch.tally cimport (
    NEVER, SeenGroup, SeenReplica, Tally as TallyState, goal_answers, goal_share, group_display_name, group_heard,
    group_is_silent, group_replica, latency_count_up_to, latency_quantile, rate_current, replica_is_silent, tally_add,
    tally_end, tally_naming, tally_open, tally_share, tally_verdict
)
from .core.watch.terminal cimport Terminal, terminal_open
from .core.watch.view cimport View, view_draw

cdef extern from "option_table.h" nogil:
    enum:
        OPTION_HOST
        OPTION_PALETTE
        OPTION_PORT
        OPTION_SANDBOX
        OPTION_TITLE

cdef extern from *:
    """
    #ifndef YINYANG_VERSION
    #error "YINYANG_VERSION must be defined by the build, from pyproject.toml"
    #endif
    """
    const char *YINYANG_VERSION

cdef extern from "watch_options.h" nogil:
    const char *WATCH_PROGRAM

cdef enum:
    MESSAGE_MAX = 5120
    ADDRESS_MAX = 64  # bytes of the text of an address, or of a URL of nothing else

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
    cdef char name[HOST_NAME_MAX + 1]
    cdef char words[MESSAGE_MAX]
    cdef Text message
    text_open(&message, words, MESSAGE_MAX)
    if not host_name(name, &message):
        raise ValueError(text_decoded(&message))
    return <bytes>name


# ---- identity and page --------------------------------------------------------------------------------------------

cdef str default_title = option_table[OPTION_TITLE].text.decode()
cdef str default_palette = option_table[OPTION_PALETTE].words[option_table[OPTION_PALETTE].number].decode()


cdef class Identity:
    cdef bytes _name
    cdef IdentityState _state

    def __init__(self, name=None, palette=default_palette):
        cdef bytes given = host_name_bytes() if name is None else encoded(name)
        if not 0 < len(given) <= NAME_MAX:
            raise ValueError(f"a name has 1 to {NAME_MAX} bytes, not {len(given)}")
        self._name = given
        identity_set(&self._state, PyBytes_AsString(given), len(given), palette_number(palette))

    @property
    def name(self):
        return self._name.decode("utf-8", "surrogateescape")

    @property
    def hash(self):
        return self._state.hash

    @property
    def palette(self):
        return option_table[OPTION_PALETTE].words[self._state.palette].decode()

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


cdef int palette_number(palette) except -1:
    cdef bytes word = encoded(palette)
    cdef int number = 0
    if 0 in word or not word_parse(option_table[OPTION_PALETTE].words, PyBytes_AsString(word), &number):
        raise ValueError(f"palette must be {expected(OPTION_PALETTE)}, not {palette!r}")
    return number


def identify(name=None, palette=default_palette):
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


def render_page(Identity identity not None, title=default_title):
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


def render_responses(Identity identity not None, title=default_title):
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

cdef str option_name(int option):
    """As an argument of yinyang.Server."""
    return option_table[option].word.decode().replace("-", "_")


cdef dict settings_of(const Config *config):
    """The arguments for yinyang.Server; None where nothing is set."""
    cdef dict settings = {}
    cdef int option
    for option in range(OPTION_COUNT):
        if is_setting(option):
            settings[option_name(option)] = setting_of(config, option)
    return settings


cdef setting_of(const Config *config, int option):
    cdef const Option *row = &option_table[option]
    cdef int number = config.numbers[option]
    if row.kind == KIND_ADDRESS or row.kind == KIND_TEXT:
        return None if config.texts[option] == NULL else config.texts[option].decode("utf-8", "surrogateescape")
    if row.kind == KIND_WORD:
        return row.words[number].decode()
    if row.kind == KIND_SWITCH:
        return bool(number)
    if row.kind == KIND_SECONDS:
        return number / 1000.0
    if row.kind == KIND_SPAN and span_low(number) < span_high(number):
        return f"{span_low(number)}ms..{span_high(number)}ms"
    if row.kind == KIND_SPAN:
        return span_low(number) / 1000.0
    if row.kind == KIND_SHARE:
        return number / 100.0
    return None if number == 0 and row.unset != NULL else number


cdef int config_take(Config *config, int option, value, list kept) except -1:
    """Set an option, which still has its default, to an argument of yinyang.Server; ValueError says what it must be.
    `kept` keeps the texts."""
    cdef const Option *row = &option_table[option]
    cdef bytes text
    if value is None and setting_of(config, option) is None:
        return 0  # as it is by default
    if row.kind == KIND_SWITCH and not isinstance(value, (str, bytes)):
        config.numbers[option] = bool(value)
    elif row.kind == KIND_NUMBER:
        if not row.min <= value <= row.max:
            raise ValueError(f"{option_name(option)} must be {expected(option)}, not {value}")
        config.numbers[option] = value
    elif row.kind == KIND_SECONDS:
        config.numbers[option] = milliseconds(option, value)
    else:
        text = encoded(str(value) if row.kind == KIND_SHARE or row.kind == KIND_SPAN else value)
        kept.append(text)
        if 0 in text or not config_set(config, option, PyBytes_AsString(text)):
            name = f"the {option_name(option)}" if row.kind == KIND_TEXT else option_name(option)
            raise ValueError(f"{name} must be {expected(option)}, not {value!r}")
    return 0


cdef int milliseconds(int option, seconds) except -1:
    """Here, other than on the command line, a second may be cut into as many as 1000 pieces."""
    cdef const Option *row = &option_table[option]
    shortest = 0.001 if row.min else 0.0
    if not shortest <= seconds <= row.max:
        raise ValueError(f"{option_name(option)} must be from {shortest} to {row.max} seconds, not {seconds}")
    return <int>(seconds * 1000)


cdef str expected(int option):
    cdef char words[MESSAGE_MAX]
    cdef Text text
    text_open(&text, words, MESSAGE_MAX)
    text_expected(&text, option)
    return text_decoded(&text)


cdef extern from "Python.h":
    wchar_t *PyUnicode_AsWideCharString(object text, Py_ssize_t *size) except NULL
    char *Py_EncodeLocale(const wchar_t *text, size_t *error_position)


cdef bytes argument_bytes(str argument):
    """The bytes that the program was given. Python has decoded them by the C library, whose idea of some charsets is
    not that of Python's codecs, which os.fsencode uses."""
    cdef wchar_t *wide = PyUnicode_AsWideCharString(argument, NULL)
    cdef char *given = Py_EncodeLocale(wide, NULL)
    PyMem_Free(wide)
    if given == NULL:
        return encoded(argument)  # not from the command line
    try:
        return <bytes>given
    finally:
        PyMem_Free(given)


cdef const char **argument_pointers(list given) except NULL:
    """The strings of these bytes, which stay theirs. To be freed by PyMem_Free."""
    cdef const char **pointers = <const char **>PyMem_Malloc((len(given) + 1) * sizeof(char *))
    cdef int i
    if pointers == NULL:
        raise MemoryError
    for i in range(len(given)):
        pointers[i] = PyBytes_AsString(given[i])
    return pointers


def parse_options(arguments):
    cdef list given = [argument_bytes(argument) for argument in arguments]
    cdef const char **pointers = argument_pointers(given)
    cdef char words[MESSAGE_MAX]
    cdef Text message
    cdef Config config
    cdef int action
    text_open(&message, words, MESSAGE_MAX)
    try:
        action = options_parse(&config, <int>len(given), pointers, &message)
        if action == ACTION_ERROR:
            raise ValueError(text_decoded(&message))
        if action == ACTION_HELP or action == ACTION_VERSION:
            return "help" if action == ACTION_HELP else "version", {}, ""
        return "serve" if action == ACTION_SERVE else "healthcheck", settings_of(&config), text_decoded(&message)
    finally:
        PyMem_Free(pointers)


def usage():
    cdef char words[MESSAGE_MAX]
    cdef Text text
    text_open(&text, words, MESSAGE_MAX)
    usage_message(&text)
    return text_decoded(&text)


def check_health(host, int port, bint proxy_protocol=False):
    cdef bytes address = None if host is None else encoded(host)
    cdef const char *pointer = NULL if host is None else PyBytes_AsString(address)
    cdef char words[MESSAGE_MAX]
    cdef Text message
    cdef bint answered
    text_open(&message, words, MESSAGE_MAX)
    with nogil:
        answered = healthcheck(pointer, port, proxy_protocol, &message)
    return None if answered else text_decoded(&message)


def inherited_listener():
    cdef char words[MESSAGE_MAX]
    cdef Text message
    cdef int fd
    text_open(&message, words, MESSAGE_MAX)
    fd = listener_inherited(&message)
    if fd < 0 and fd != NO_LISTENER:
        raise ValueError(text_decoded(&message))
    return None if fd == NO_LISTENER else fd


def usable_cpus():
    return cpus_usable()


# ---- the verdict --------------------------------------------------------------------------------------------------

failure_kinds = tuple([failure_words[kind][0].decode() for kind in range(FAILURE_KINDS)])


cdef int check_time(int64_t ms) except -1:
    """So that differences do not overflow."""
    if not 0 <= ms < <int64_t>1 << 53:
        raise ValueError(f"a time is from 0 to 2^53 ms, not {ms}")
    return 0


cdef class Evidence:
    cdef EvidenceState _state

    def __cinit__(self):
        evidence_open(&self._state)

    def add(self, int64_t at, int source=NO_SOURCE, int failure=-1, int tie=TIE_NONE, int owner=NO_SOURCE,
            int64_t started=0):
        cdef Sample sample
        check_time(at)
        if not (NO_SOURCE <= source < SOURCES_MAX and NO_SOURCE <= owner < SOURCES_MAX):
            raise ValueError(f"a source is from 0 to {SOURCES_MAX - 1}, or {NO_SOURCE}")
        if not (-1 <= failure < STATUS_END and 0 <= tie < 3):
            raise ValueError("failure or tie is out of range")
        sample.at = at
        sample.source = source
        sample.failure = failure
        sample.tie = tie
        sample.owner = owner
        sample.started = started
        evidence_add(&self._state, &sample)

    def forget(self, int source):
        if not 0 <= source < SOURCES_MAX or self._state.sources[source].is_active:
            raise ValueError("only a source that is gone can be forgotten")
        evidence_forget(&self._state, source)

    def is_there(self, int source):
        return 0 <= source < SOURCES_MAX and bool(self._state.sources[source].is_active)

    def may_be_gone(self, int source):
        return 0 <= source < SOURCES_MAX and bool(may_be_gone(&self._state, source))

    def verdict(self, int64_t now, names, int64_t waiting=0, int64_t waiting_since=0, one="replica",
                several="replicas"):
        cdef Verdict found
        check_time(now)
        check_time(waiting_since)
        cdef Name texts[SOURCES_MAX]
        cdef list kept = [encoded(name) for name in names] + [b"?"] * (SOURCES_MAX - len(names))
        cdef bytes one_word = encoded(one)
        cdef bytes several_word = encoded(several)
        cdef Naming naming
        cdef int i
        for i in range(SOURCES_MAX):
            texts[i].bytes = PyBytes_AsString(kept[i])
            texts[i].length = len(kept[i])
        naming.names = texts
        naming.one = PyBytes_AsString(one_word)
        naming.several = PyBytes_AsString(several_word)
        verdict_find(&found, &self._state, now, waiting, waiting_since)
        return {
            "kind": verdict_kind(&found).decode(),
            "headline": words_of(&found, &naming, True),
            "detail": words_of(&found, &naming, False),
            "samples": found.samples,
            "more": found.more,
            "subjects": [found.subjects[i] for i in range(min(found.subject_count, 3))],
            "shares": {
                i: (found.low[i], found.seen[i], found.high[i]) for i in range(SOURCES_MAX) if found.high[i] > 0
            },
        }


cdef str words_of(const Verdict *verdict, const Naming *naming, bint is_headline):
    cdef char words[MESSAGE_MAX]
    cdef Text text
    text_open(&text, words, MESSAGE_MAX)
    if is_headline:
        text_headline(&text, verdict, naming)
    else:
        text_detail(&text, verdict, naming)
    return text_decoded(&text)


# ---- the watch ----------------------------------------------------------------------------------------------------

cdef class WatchOptions:
    cdef WatchOptionsState _options
    cdef list _given  # that the options borrow from
    cdef readonly str action

    def __init__(self, arguments):
        cdef list given = [argument_bytes(argument) for argument in arguments]
        cdef const char **pointers = argument_pointers(given)
        cdef char words[MESSAGE_MAX]
        cdef Text message
        cdef int action
        self._given = given
        text_open(&message, words, MESSAGE_MAX)
        action = watch_options_parse(&self._options, <int>len(given), pointers, &message)
        PyMem_Free(pointers)
        if action == WATCH_ERROR:
            raise ValueError(text_decoded(&message))
        self.action = "watch" if action == WATCH_RUN else "help" if action == WATCH_SHOW_HELP else "version"

    @property
    def url(self):
        return self._options.url.decode("utf-8", "surrogateescape")

    @property
    def display_url(self):
        return self._options.display_url.decode("utf-8", "surrogateescape")

    @property
    def rate(self):
        return self._options.rate

    @property
    def concurrency(self):
        return self._options.concurrency

    @property
    def keep_alive(self):
        return bool(self._options.keep_alive)

    @property
    def timeout(self):
        return self._options.timeout / <double>US_PER_SECOND

    @property
    def duration(self):
        return None if self._options.duration == NOT_GIVEN else self._options.duration / <double>US_PER_SECOND

    @property
    def count(self):
        return None if self._options.count == NOT_GIVEN else self._options.count

    @property
    def json(self):
        return bool(self._options.json)

    @property
    def jsonl(self):
        return bool(self._options.jsonl)

    @property
    def junit(self):
        return None if self._options.junit == NULL else self._options.junit.decode("utf-8", "surrogateescape")

    @property
    def metrics_port(self):
        return self._options.metrics_port or None

    @property
    def insecure(self):
        return bool(self._options.insecure)

    @property
    def by(self):
        return by_word(self._options.by).decode()

    @property
    def has_goal(self):
        return bool(self._options.has_goal)


def watch_usage_text(program):
    cdef bytes name = encoded(program)
    cdef char words[2 * MESSAGE_MAX]
    cdef Text text
    text_open(&text, words, 2 * MESSAGE_MAX)
    watch_usage(&text, PyBytes_AsString(name), True)
    return text_decoded(&text)


cdef int label_take(Label *label, text) except -1:
    cdef bytes given = text.encode("utf-8", "replace")
    label_set(label, PyBytes_AsString(given), len(given))
    return 0


cdef str label_text(const Label *label):
    return label.bytes[:label.length].decode("utf-8", "replace")


cdef int64_t microseconds(double seconds) except -1:
    """A moment; within limits, so that differences do not overflow."""
    if not 0 <= seconds < 2.0 ** 33:
        raise ValueError(f"a time is from 0 to 2^33 seconds, not {seconds}")
    return <int64_t>(seconds * US_PER_SECOND + 0.5)


cdef seconds_or_none(double us):
    return None if us == NOT_GIVEN else us / US_PER_SECOND


cdef int described_set(Described *described, replica) except -1:
    cdef bytes colour
    cdef int64_t started = replica.started
    cdef int64_t start_ms = -1 if replica.start_ms is None else replica.start_ms
    memset(described, 0, sizeof(described[0]))
    label_take(&described.host, replica.host)
    label_take(&described.short_name, replica.short)
    label_take(&described.version, replica.version or "")
    label_take(&described.zone, replica.zone or "")
    label_take(&described.node, replica.node or "")
    for i in range(2):
        colour = replica.colours[i].encode("ascii")
        if len(colour) != COLOUR_LENGTH:
            raise ValueError("a colour is #rrggbb")
        memcpy(described.colours[i], PyBytes_AsString(colour), COLOUR_LENGTH)
    described.started = started
    described.start_ms = start_ms
    return 0


cdef int failure_number(str name):
    """The first of all kinds if there is no kind with this name."""
    kind, _, status = name.partition("status ")
    if not kind and len(status) == 3 and status.isdecimal() and 100 <= int(status) < STATUS_END:
        return int(status)
    return failure_kinds.index(name) if name in failure_kinds else 0


cdef str failure_name(int number):
    return failure_kinds[number] if number < FAILURE_KINDS else "status %d" % number


cdef int sample_set(WatchSample *sample, double start, double end, replica, str failure, int64_t connection,
                    cookie_of) except -1:
    memset(sample, 0, sizeof(sample[0]))
    sample.start = microseconds(start)
    sample.end = microseconds(end)
    sample.is_answer = replica is not None and not failure
    if replica is not None:
        described_set(&sample.replica, replica)
        if not sample.replica.host.length:
            raise ValueError("a replica has a host")
    sample.failure = failure_number(failure)
    sample.connection = connection
    label_take(&sample.cookie_of, cookie_of or "")
    return 0


cdef enum Told:  # what is told of a watch
    TOLD_REPORT
    TOLD_LINE
    TOLD_FIGURES
    TOLD_METRICS
    TOLD_EXPECTED
    TOLD_SEEN
    TOLD_CLOSING
    TOLD_JUNIT

cdef struct Telling:
    int64_t now
    const char *reason  # why it ended, for TOLD_REPORT; why it could not go on, for TOLD_JUNIT, or NULL if it could
    int number  # of the expectation
    bint unicode, github  # for TOLD_CLOSING


cdef void tell(Text *text, const TallyState *t, int told, const Telling *how) noexcept nogil:
    if told == TOLD_REPORT:
        text_report(text, t, how.now, how.reason)
    elif told == TOLD_LINE:
        text_summary_line(text, t, how.now)
    elif told == TOLD_FIGURES:
        text_figures(text, t, how.now, "")
    elif told == TOLD_METRICS:
        text_watch_metrics(text, t, how.now)
    elif told == TOLD_EXPECTED:
        text_expected_words(text, t, how.number)
    elif told == TOLD_SEEN:
        text_seen_words(text, t, how.number, how.now)
    elif told == TOLD_CLOSING:
        text_closing(text, t, how.now, how.unicode, how.github)
    else:
        text_junit(text, t, how.now, how.reason)


cdef str told_text(const TallyState *t, int told, const Telling *how):
    cdef Text text
    cdef bytes words
    text_measure(&text)
    tell(&text, t, told, how)
    words = PyBytes_FromStringAndSize(NULL, text.length)
    text_open(&text, PyBytes_AsString(words), text.length)
    tell(&text, t, told, how)
    return words.decode("utf-8", "replace")


def run_line(WatchOptions options not None, double at):
    cdef char words[2 * MESSAGE_MAX]
    cdef Text text
    text_open(&text, words, 2 * MESSAGE_MAX)
    text_run_line(&text, &options._options, microseconds(at) // US_PER_MS)
    return text_decoded(&text)


def sample_line(double at, double start, double end, replica=None, str failure="", int64_t connection=0,
                cookie_of=None):
    cdef char words[2 * MESSAGE_MAX]
    cdef WatchSample sample
    cdef Text text
    sample_set(&sample, start, end, replica, failure, connection, cookie_of)
    text_open(&text, words, 2 * MESSAGE_MAX)
    text_sample_line(&text, &sample, microseconds(at) // US_PER_MS)
    return text_decoded(&text)


cdef class Tally:
    cdef TallyState _state
    cdef readonly WatchOptions options

    def __cinit__(self, WatchOptions options not None, double begin):
        self.options = options
        tally_open(&self._state, &options._options, microseconds(begin))

    def add(self, double start, double end, replica=None, str failure="", int64_t connection=0, cookie_of=None):
        cdef WatchSample sample
        sample_set(&sample, start, end, replica, failure, connection, cookie_of)
        tally_add(&self._state, &sample)

    def wait(self, int64_t count, double since, double latest=0):
        self._state.waiting = count
        self._state.waiting_since = microseconds(since)
        self._state.latest_start = max(self._state.latest_start, microseconds(latest))
        self._state.sent = max(self._state.sent, self._state.samples + count)

    def end(self, double now):
        tally_end(&self._state, microseconds(now))

    def verdict(self, double now):
        cdef Verdict found
        cdef Name names[SOURCES_MAX]
        cdef Naming naming
        cdef int i, group
        cdef dict shares = {}
        tally_verdict(&self._state, &found, microseconds(now))
        tally_naming(&self._state, &naming, names)
        for i in range(SOURCES_MAX):
            group = self._state.group_of_source[i]
            if group >= 0 and found.high[i] > 0:
                shares[label_text(&self._state.groups[group].name)] = found.low[i], found.seen[i], found.high[i]
        return {
            "kind": verdict_kind(&found).decode(),
            "headline": words_of(&found, &naming, True),
            "detail": words_of(&found, &naming, False),
            "samples": found.samples,
            "more": found.more,
            "shares": shares,
        }

    def groups(self):
        return [self._group(i) for i in range(self._state.group_count)]

    cdef dict _group(self, int group):
        cdef const SeenGroup *g = &self._state.groups[group]
        cdef const SeenReplica *first = group_replica(&self._state, group)
        cdef const SeenReplica *r
        cdef int i
        cdef list replicas = []
        cdef int there = 0
        for i in range(self._state.replica_count):
            r = &self._state.replicas[i]
            if r.group == group:
                replicas.append(label_text(&r.described.host))
                there += not replica_is_silent(&self._state, r)
        return {
            "name": label_text(&g.name),
            "display_name": label_text(group_display_name(&self._state, group)),
            "replicas": replicas,
            "there": there,
            "version": label_text(&first.described.version) if first != NULL else "",
            "colours": colours_of(first) if first != NULL else None,
            "first": g.counts.first / <double>US_PER_SECOND,
            "last": group_heard(g) / <double>US_PER_SECOND,
            "answers": g.counts.answers,
            "share": tally_share(&self._state, &g.counts),
            "present": g.present,
            "failures": g.failures,
            "last_failure": None if g.last_failure == NEVER else g.last_failure / <double>US_PER_SECOND,
            "is_silent": bool(group_is_silent(&self._state, group)),
        }

    def failures(self):
        return [
            (failure_name(self._state.failures[i].kind), self._state.failures[i].count,
             self._state.failures[i].last / <double>US_PER_SECOND)
            for i in range(self._state.failure_count)
        ]

    def draw(self, double now, int width, int height, int colours=0, bint unicode=True, bint show_all=False,
             title=""):
        cdef bytes given = encoded(title)
        cdef View view
        cdef Text text
        cdef bytes frame
        if 0 in given:
            raise ValueError("a title has no NUL")
        view.width = width
        view.height = height
        view.colours = colours
        view.unicode = unicode
        view.show_all = show_all
        view.title = PyBytes_AsString(given)
        text_measure(&text)
        view_draw(&text, &self._state, microseconds(now), &view)
        frame = PyBytes_FromStringAndSize(NULL, text.length)
        text_open(&text, PyBytes_AsString(frame), text.length)
        view_draw(&text, &self._state, microseconds(now), &view)
        return frame.decode()

    @property
    def begin(self):
        return self._state.begin / <double>US_PER_SECOND

    @property
    def samples(self):
        return self._state.samples

    @property
    def answers(self):
        return self._state.answers

    @property
    def errors(self):
        return self._state.samples - self._state.answers

    def current_rate(self, double now):
        return rate_current(&self._state, microseconds(now))

    def latency(self, double part):
        return seconds_or_none(latency_quantile(&self._state, part))

    def latencies_up_to(self, double seconds):
        return latency_count_up_to(&self._state, seconds)

    @property
    def goal(self):
        return goal_share(&self._state), goal_answers(&self._state)

    @property
    def goal_reached(self):
        return seconds_or_none(self._state.goal_reached)

    cdef str _told(self, int told, double now, const char *reason=NULL, int number=0, bint unicode=False,
                   bint github=False):
        cdef Telling how
        how.now = microseconds(now)
        how.reason = reason
        how.number = number
        how.unicode = unicode
        how.github = github
        return told_text(&self._state, told, &how)

    def report(self, double now, str ended not None):
        cdef bytes word = ended.encode()
        return self._told(TOLD_REPORT, now, PyBytes_AsString(word))

    def line(self, double now):
        return self._told(TOLD_LINE, now)

    def figures(self, double now):
        return self._told(TOLD_FIGURES, now)

    def metrics(self, double now):
        return self._told(TOLD_METRICS, now)

    def expectations(self, double now):
        return [
            (self._told(TOLD_EXPECTED, now, NULL, i), self._told(TOLD_SEEN, now, NULL, i),
             bool(expectation_holds(&self._state, i, microseconds(now))))
            for i in range(expectation_count(&self._state))
        ]

    def closing(self, double now, bint unicode, bint github):
        return self._told(TOLD_CLOSING, now, NULL, 0, unicode, github)

    def junit(self, double now, str problem=None):
        cdef bytes words = None if problem is None else problem.encode("utf-8", "replace")
        return self._told(TOLD_JUNIT, now, NULL if words is None else PyBytes_AsString(words))


cdef tuple colours_of(const SeenReplica *replica):
    return tuple([(<const char *>replica.described.colours[i])[:COLOUR_LENGTH].decode("ascii") for i in range(2)])


def run_watch(arguments):
    cdef list given = [argument_bytes(argument) for argument in arguments]
    _exit(watch_main(<int>len(given), argument_pointers(given), WATCH_PROGRAM, YINYANG_VERSION))


def terminal(int fd):
    cdef Terminal t
    terminal_open(&t, fd)
    return {
        "is_terminal": bool(t.is_terminal),
        "is_dumb": bool(t.is_dumb),
        "width": t.width,
        "height": t.height,
        "colours": t.colours,
        "unicode": bool(t.unicode),
    }


# ---- the watch: answers -------------------------------------------------------------------------------------------

cdef dict answer_states = {
    ANSWER_MORE: "more", ANSWER_DONE: "done", ANSWER_NOT_HTTP: "not HTTP", ANSWER_TOO_LARGE: "too large",
    ANSWER_CUT: "cut",
}


cdef span_bytes(const Span *span):
    return None if span.bytes == NULL else span.bytes[:span.length]


cdef described_by(const Answer *a):
    """As the arguments of yinyang.watch.sample.Replica; None if it describes nobody."""
    cdef Described found
    if not answer_describe(a, &found):
        return None
    return {
        "host": label_text(&found.host),
        "short": label_text(&found.short_name),
        "version": label_text(&found.version) or None,
        "colours": tuple([colour[:COLOUR_LENGTH].decode() for colour in found.colours]),
        "zone": label_text(&found.zone) or None,
        "node": label_text(&found.node) or None,
        "started": found.started,
        "start_ms": None if found.start_ms < 0 else found.start_ms,
    }


cdef list cookie_lines(const Answer *a):
    cdef size_t pos = 0
    cdef Span line
    lines = []
    while answer_cookie(a, &pos, &line):
        lines.append(span_bytes(&line))
    return lines


cdef class AnswerReader:
    cdef Answer _state
    cdef char *_buffer

    def __cinit__(self):
        self._buffer = <char *>PyMem_Malloc(ANSWER_MAX)
        if self._buffer == NULL:
            raise MemoryError
        answer_open(&self._state, self._buffer)

    def __dealloc__(self):
        PyMem_Free(self._buffer)

    def begin(self):
        answer_begin(&self._state)

    def feed(self, bytes data not None):
        cdef Answer *a = &self._state
        cdef size_t place = 0
        cdef size_t size = len(data)
        cdef size_t count
        while place < size and a.state == ANSWER_MORE:
            count = min(size - place, ANSWER_MAX - a.length)
            memcpy(a.buffer + a.length, PyBytes_AsString(data) + place, count)
            a.length += count
            place += count
            answer_parse(a)
        return answer_states[a.state]

    def end(self):
        return answer_states[answer_end(&self._state)]

    def found(self):
        cdef Answer *a = &self._state
        return {
            "state": answer_states[a.state],
            "status": a.status if a.head else None,
            "keeps_alive": bool(a.keeps_alive),
            "served_by": span_bytes(&a.served_by),
            "version": span_bytes(&a.version),
            "location": span_bytes(&a.location),
            "cookies": cookie_lines(a),
            "body": span_bytes(&a.body),
            "described": described_by(a),
        }


cdef void span_take(Span *span, bytes given):
    """The span borrows."""
    if given is not None:
        span.bytes = PyBytes_AsString(given)
        span.length = len(given)


def describe(bytes body not None, bytes served_by=None, bytes version=None, bytes zone=None, bytes node=None):
    cdef Answer a
    memset(&a, 0, sizeof(Answer))
    span_take(&a.body, body)
    span_take(&a.served_by, served_by)
    span_take(&a.version, version)
    span_take(&a.zone, zone)
    span_take(&a.node, node)
    return described_by(&a)


def printable(bytes text not None):
    cdef Label label
    label_set(&label, PyBytes_AsString(text), len(text))
    return label_text(&label)


cdef class CookieJar:
    cdef CookieJarState _state

    def __cinit__(self, bint secure):
        jar_open(&self._state, secure)

    def store(self, host, set_cookie_lines):
        cdef AnswerReader answer = AnswerReader()
        cdef bytes name = encoded(host)
        cdef Label label
        label_set(&label, PyBytes_AsString(name), len(name))
        answer.feed(b"HTTP/1.1 204\n" + b"".join([b"Set-Cookie: %b\n" % line for line in set_cookie_lines]) + b"\n")
        jar_store(&self._state, &label, &answer._state)

    def choose(self, uint64_t random):
        cdef int chosen = jar_choose(&self._state, random)
        if chosen < 0:
            return None
        return (
            label_text(&self._state.cookies[chosen].host),
            self._state.cookies[chosen].bytes[:self._state.cookies[chosen].length],
        )


# ---- the server ---------------------------------------------------------------------------------------------------

cdef class LogQueue:
    cdef LogQueueState _state
    cdef Timezone _timezone

    def __cinit__(self, int fd):
        timezone_open(&self._timezone)
        checked(log_queue_open(&self._state, fd))

    def __dealloc__(self):
        log_queue_close(&self._state)
        timezone_close(&self._timezone)

    def put(self, bytes line not None, uint64_t count=1, bint are_pages=False):
        if not line or not count:
            raise ValueError("there must be a line, once or more often")
        log_queue_add(&self._state, PyBytes_AsString(line), len(line), count, are_pages)
        self.flush()

    def write(self, Server server not None):
        with nogil:
            server_write_log(&server._state, &self._state, &self._timezone)

    def flush(self):
        with nogil:
            log_queue_flush(&self._state)

    def wait_for(self):
        cdef int delay = -1
        cdef int fd = log_queue_wait_for(&self._state, &delay)
        return fd, delay


cdef class Server:
    cdef ServerState _state
    cdef Replica _replica
    cdef readonly Identity identity
    cdef list _texts  # that the config borrows
    cdef Config _config
    cdef int _listener
    cdef int _waker[2]  # the ends of a pipe
    cdef int _process  # that opened it; a fork of that has a copy, whose end must not be that of the workers

    def __cinit__(self):
        self._process = getpid()
        self._listener = self._waker[0] = self._waker[1] = -1

    def __init__(self, dict settings not None, listener=None):
        cdef char words[MESSAGE_MAX]
        cdef Text message
        cdef int option
        if self._listener >= 0:
            raise RuntimeError("a server is opened once")
        self._texts = []
        config_set_defaults(&self._config)
        for option in range(OPTION_COUNT):
            if is_setting(option):
                config_take(&self._config, option, settings[option_name(option)], self._texts)
        self._check_sandbox()
        text_open(&message, words, MESSAGE_MAX)
        if not config_complete(&self._config, &message):
            raise ValueError(text_decoded(&message))
        replica_set(&self._replica, &self._config)
        self.identity = Identity(<bytes>self._config.texts[OPTION_NAME], settings["palette"])
        if listener is None:
            self._listen()
        else:
            self._adopt(listener)
        if pipe2(self._waker, O_CLOEXEC | O_NONBLOCK) < 0:
            self._state.supervisor.failed_call = CALL_PIPE
            self._check(-errno)
        self._check(supervisor_open(&self._state.supervisor, &self._config, &self._replica, self._listener,
                                    self._waker[0]))

    cdef int _check(self, int error) except -1:
        cdef char words[MESSAGE_MAX]
        cdef Text text
        if error < 0:
            text_open(&text, words, MESSAGE_MAX)
            supervisor_error_message(&self._state.supervisor, -error, &text)
            raise OSError(-error, text_decoded(&text))
        return 0

    cdef int _check_sandbox(self) except -1:
        cdef char words[MESSAGE_MAX]
        cdef Text text
        text_open(&text, words, MESSAGE_MAX)
        if not sandbox_is_possible(self._config.numbers[OPTION_SANDBOX], "--sandbox auto", &text):
            raise OSError(ENOSYS, text_decoded(&text))
        return 0

    cdef int _adopt(self, int fd) except -1:
        cdef char words[MESSAGE_MAX]
        cdef Text text
        text_open(&text, words, MESSAGE_MAX)
        if not listener_adopt(fd, &text):
            raise ValueError(text_decoded(&text))
        self._listener = fd
        self._state.supervisor.listener_is_shared = True
        return 0

    cdef int _listen(self) except -1:
        cdef const char *host = self._config.texts[OPTION_HOST]
        cdef int port = self._config.numbers[OPTION_PORT]
        cdef char words[MESSAGE_MAX]
        cdef Text text
        self._listener = listener_open(host, port)
        if self._listener < 0:
            text_open(&text, words, MESSAGE_MAX)
            listener_error_message(&text, -self._listener, host, port)
            raise OSError(-self._listener, text_decoded(&text))
        return 0

    def __dealloc__(self):
        cdef int fd
        if self._process == getpid():
            self._close()
        # other threads may have used these at any time until now
        scoreboard_close(&self._state.supervisor.scoreboard)
        for fd in self._listener, self._waker[0], self._waker[1]:
            if fd >= 0:
                close(fd)

    cdef void _close(self) noexcept:
        if self._state.supervisor.processes != NULL and self._process == getpid():
            with nogil:
                supervisor_close(&self._state.supervisor)
        if self._listener >= 0:
            close(self._listener)
        self._listener = -1

    def close(self):
        self._close()

    def skip_drain(self):
        supervisor_skip_drain(&self._state.supervisor)

    def set_ready(self, bint ready):
        supervisor_set_ready(&self._state.supervisor, ready)

    def set_age(self, double seconds):
        cdef int64_t now = monotonic_us()
        if not 0 <= seconds <= now / <double>US_PER_SECOND:
            raise ValueError("nothing is older than its host")
        scoreboard_set_began(&self._state.supervisor.scoreboard, now - <int64_t>(seconds * US_PER_SECOND))

    def start(self):
        cdef int error
        with nogil:
            error = supervisor_start(&self._state.supervisor)
        self._check(error)

    def wait(self, int stops, int log, int timeout):
        cdef char bytes[64]
        cdef char words[MESSAGE_MAX]
        cdef Text message
        cdef bint goes_on
        with nogil:
            goes_on = server_wait(&self._state, stops, log, timeout)
            while self._state.supervisor.caller_ready and read(self._waker[0], bytes, sizeof(bytes)) == sizeof(bytes):
                pass
        text_open(&message, words, MESSAGE_MAX)
        if not goes_on and server_has_failed(&self._state, &message):
            raise OSError(ECHILD, text_decoded(&message))
        return goes_on

    @property
    def serves(self):
        return bool(self._state.supervisor.has_been_up)

    def next_record(self):
        cdef LogRecord record
        if not server_next_record(&self._state, &record):
            return None
        kind = "pages" if record.are_pages else "warning" if record.is_warning else "info"
        if record.image_template == NULL:
            return kind, record.second, record.count, "%s", (text_decoded(&record.message),)
        return kind, record.second, record.count, record.image_template.decode(), (self.identity.name,
                                                                                   self.identity.colour)

    def reap_orphans(self):
        supervisor_reap_orphans(&self._state.supervisor)

    def wake(self):
        if write(self._waker[1], b"", 1) < 0:
            return  # the pipe is full of such bytes, which is as good

    @property
    def waker(self):
        return self._waker[1]

    @property
    def address(self):
        cdef char words[ADDRESS_MAX]
        cdef Address address
        cdef Text text
        text_open(&text, words, ADDRESS_MAX)
        checked(listener_address(self._listener, &address))
        text_address(&text, &address)
        return text_decoded(&text), address_port(&address)

    @property
    def url(self):
        cdef char words[ADDRESS_MAX]
        cdef Address address
        cdef Text text
        text_open(&text, words, ADDRESS_MAX)
        checked(listener_local_address(self._listener, &address))
        text_url(&text, &address)
        return text_decoded(&text) + "/"

    def counts(self):
        cdef Counts counts
        if self._state.supervisor.scoreboard.notice == NULL:
            return 0, 0, 0
        counts = scoreboard_counts(&self._state.supervisor.scoreboard)
        return counts.pages, counts.accepted, counts.open


# ---- the entry points of csrc/main.c, which have no Python in them ------------------------------------------------

cdef extern from "yinyang.h" nogil:
    struct yinyang:
        pass


cdef public int yinyang_parse(yinyang **program, int count, const char **arguments) noexcept nogil:
    return program_parse(<Program **>program, count, arguments, YINYANG_VERSION)


cdef public const char *yinyang_message(const yinyang *program) noexcept nogil:
    return (<const Program *>program).message


cdef public bint yinyang_healthcheck(yinyang *program) noexcept nogil:
    return program_healthcheck(<Program *>program)


cdef public bint yinyang_open(yinyang *program, int log, int caller_fd) noexcept nogil:
    return program_open(<Program *>program, log, caller_fd)


cdef public int yinyang_watch(int count, const char **arguments) noexcept nogil:
    return watch_main(count, arguments, WATCH_PROGRAM, YINYANG_VERSION)


cdef public int yinyang_worker(int count, const char **arguments) noexcept nogil:
    return program_worker(count, arguments)


cdef public void yinyang_skip_drain(yinyang *program) noexcept nogil:
    supervisor_skip_drain(&(<Program *>program).server.supervisor)


cdef public int yinyang_turn(yinyang *program, int stops) noexcept nogil:
    return program_turn(<Program *>program, stops)


cdef public void yinyang_set_ready(yinyang *program, bint ready) noexcept nogil:
    supervisor_set_ready(&(<Program *>program).server.supervisor, ready)


cdef public void yinyang_reap_orphans(yinyang *program) noexcept nogil:
    supervisor_reap_orphans(&(<Program *>program).server.supervisor)
