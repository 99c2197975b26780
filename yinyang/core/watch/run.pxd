"""A watch from its command line to its exit code: samples, shows what happens, and tells whether it is as expected.

One thread waits for all: sockets, the time, signals, the addresses of the host, and those who read the metrics.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from ..config.config cimport OPTION_SANDBOX, option_table, text_alternatives, word_parse
from ..log.log_write cimport log_room
from ..os.capacity cimport descriptors_reserve
from ..os.sandbox cimport (
    OF_WATCH, SANDBOX_AUTO, SANDBOX_OFF, SANDBOX_REQUIRE, sandbox_enter, sandbox_is_possible, sandbox_refusal_message
)
from ..os.syscalls cimport (
    CLOCK_MONOTONIC, EPIPE, EPOLLET, EPOLLIN, EPOLL_CLOEXEC, EPOLL_CTL_ADD, MAP_PRIVATE, O_CLOEXEC, O_CREAT, O_WRONLY,
    SIGPIPE, SIG_BLOCK, SIG_UNBLOCK, TFD_CLOEXEC, TFD_NONBLOCK, TFD_TIMER_ABSTIME, epoll_create1, epoll_ctl,
    epoll_event, epoll_wait, errno, getenv, getpid, itimerspec, kill, map_memory, monotonic_us, open, pthread_sigmask,
    sigaddset, sigemptyset, sigset_t, timerfd_create, timerfd_settime, write
)
from ..text.buffer cimport (
    Text, text_format, text_number, text_open, text_quoted, text_string, text_system_error
)
from .answer cimport Answer
from .expectations cimport expectations_hold
from .options cimport NOT_GIVEN, WATCH_ERROR, WATCH_RUN, WATCH_SHOW_HELP, watch_options_parse, watch_usage
from .page cimport page_open
from .printing cimport (
    FRAME, LINE, PRINT_CLOSING, PRINT_PROBLEM, PRINT_SAMPLE, output_open, text_problem, text_unwritten, watch_print,
    watch_print_begin, watch_print_last, watch_print_meanwhile, watch_write, watch_write_junit
)
from .resolver cimport HOST_MAX, resolver_open, resolver_read
from .sample cimport US_PER_SECOND, WatchSample
from .sampler cimport (
    sampler_begin, sampler_due, sampler_event, sampler_is_done, sampler_lacks_sockets, sampler_looked_up, sampler_open,
    sampler_turn, sampler_wake
)
from .scrapes cimport SCRAPES_MAX, scrapes_accept, scrapes_event, scrapes_open, scrapes_turn
from .signals cimport watch_open_signals, watch_read_signals
from .state cimport (
    EXIT_FAILS, EXIT_HOLDS, EXIT_SIGNAL, EXIT_WRONG, MODE_LINES, MODE_NOTHING, MODE_SAMPLES, MODE_SCREEN,
    WATCH_MESSAGE_MAX, Watch, watch_end, watch_note_waits
)
from .tally cimport STALL_LEAST, tally_add, tally_end, tally_open
from .terminal cimport terminal_begin, terminal_end, terminal_open
from .url cimport Url, url_parse
from .writer cimport FORM_PLAIN, Writer, write_bytes

cdef enum:
    STDOUT = 1
    STDERR = 2
    EVENTS_MAX = 64

cdef enum Event:  # beyond the numbers of slots
    EVENT_TIMER = 1 << 20
    EVENT_SIGNAL
    EVENT_RESOLVER
    EVENT_LISTENER
    EVENT_SCRAPE  # of the first client


cdef inline int watch_main(int count, const char **arguments, const char *program, const char *version) noexcept nogil:
    """Watch, as these arguments say, which are those behind the word `watch`; the exit code. From then on, the process
    has no rights but to end, and it has used its standard output."""
    cdef Watch *w = <Watch *>map_memory(sizeof(Watch), MAP_PRIVATE)
    cdef Text message
    cdef int action
    if w == NULL:
        return watch_complain("out of memory")
    text_open(&message, w.message, WATCH_MESSAGE_MAX - 1)
    action = watch_options_parse(&w.options, count, arguments, &message)
    if action == WATCH_ERROR:
        return watch_complain(w.message)
    if action != WATCH_RUN:
        return watch_tell(w, action == WATCH_SHOW_HELP, program, version)
    if not watch_open(w, &message):
        return watch_complain(w.message)
    watch_run(w)
    return watch_finish(w)


cdef inline int watch_complain(const char *words) noexcept nogil:
    cdef char bytes[3 * WATCH_MESSAGE_MAX + 16]
    cdef Text text
    text_open(&text, bytes, sizeof(bytes))
    text_problem(&text, words)
    if write(STDERR, bytes, min(text.length, text.room)) < 0:
        return EXIT_WRONG
    return EXIT_WRONG


cdef inline int watch_tell(Watch *w, bint help, const char *program, const char *version) noexcept nogil:
    cdef Text text
    output_open(&w.output, STDOUT)
    if not page_open(&w.page, &text):
        return EXIT_WRONG
    if help:
        watch_usage(&text, program, False)
    else:
        text_format(&text, "%s %s\n", program, version)
    watch_write(w, &w.output, text.data, min(text.length, text.room))
    if w.output.error and w.output.error != EPIPE:
        text_open(&text, w.message, WATCH_MESSAGE_MAX - 1)
        text_string(&text, "the output cannot be written: ")
        text_system_error(&text, w.output.error)
        return watch_complain(w.message)
    return EXIT_HOLDS


# ---- the beginning ------------------------------------------------------------------------------------------------

cdef inline bint watch_open(Watch *w, Text *message) noexcept nogil:
    """Have everything that a watch needs, and no more rights than it needs; False, with a message, if that fails."""
    cdef int64_t now = monotonic_us()
    cdef int error
    url_parse(&w.url, w.options.url)
    if not watch_can_have_sandbox(w, message) or not watch_can_ask(w, message):
        return False
    w.junit.fd = -1
    if w.options.junit != NULL:
        w.junit.fd = open(w.options.junit, O_WRONLY | O_CREAT | O_CLOEXEC, 0o666)
        if w.junit.fd < 0:
            text_unwritten(message, w.options.junit, errno)
            return False
        w.junit.room = log_room(w.junit.fd, False)
    error = scrapes_open(&w.scrapes, w.options.metrics_port)
    if error < 0:
        text_format(message, "cannot serve metrics at port %llu: ", <unsigned long long>w.options.metrics_port)
        text_system_error(message, -error)
        return False
    output_open(&w.output, STDOUT)
    output_open(&w.errors, STDERR)
    w.mode = watch_mode(w)
    error = watch_open_events(w, now)
    if error < 0:
        text_string(message, "cannot watch: ")
        text_system_error(message, -error)
        return False
    w.process = getpid()
    return watch_give_up_rights(w, message)


cdef inline bint watch_can_have_sandbox(Watch *w, Text *message) noexcept nogil:
    """Whether YINYANG_SANDBOX, which is as for the server, asks for what there is."""
    cdef const char *asked = getenv("YINYANG_SANDBOX")
    w.sandbox = SANDBOX_AUTO
    if asked != NULL and not word_parse(option_table[OPTION_SANDBOX].words, asked, &w.sandbox):
        text_string(message, "YINYANG_SANDBOX wants ")
        text_alternatives(message, option_table[OPTION_SANDBOX].words)
        text_string(message, ", not ")
        text_quoted(message, asked)
        return False
    return sandbox_is_possible(w.sandbox, "YINYANG_SANDBOX=auto", message)


cdef inline bint watch_can_ask(const Watch *w, Text *message) noexcept nogil:
    """Whether it is http to a host of ASCII; else the message says what can."""
    cdef const Url *url = &w.url
    cdef size_t i
    if url.is_tls or w.options.insecure:
        text_string(message, "https is what the watch for Python does: pip install 'yinyang-serve[watch]', and then "
                    "yinyang-watch https://...")
        return False
    if url.host.length > HOST_MAX:
        text_format(message, "the name of the host has more than %llu bytes", <unsigned long long>HOST_MAX)
        return False
    for i in range(url.host.length):
        if url.host.bytes[i] & 0x80:
            text_string(message, "the host of the URL is not in ASCII; write it in punycode, such as xn--nxasmq6b")
            return False
    return True


cdef inline int watch_mode(Watch *w) noexcept nogil:
    terminal_open(&w.terminal, STDOUT)
    if w.options.json:
        return MODE_NOTHING
    if w.options.jsonl:
        return MODE_SAMPLES
    return MODE_SCREEN if w.terminal.is_terminal and not w.terminal.is_dumb else MODE_LINES


cdef inline int watch_open_events(Watch *w, int64_t now) noexcept nogil:
    """Whatever is waited for; 0 or -errno."""
    cdef int error = watch_open_signals(w)
    if error < 0:
        return error
    error = resolver_open(&w.resolver, &w.url, now)
    if error < 0:
        return error
    w.epoll = epoll_create1(EPOLL_CLOEXEC)
    w.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)
    if w.epoll < 0 or w.timer < 0:
        return -errno
    watch_await(w, w.signals, EVENT_SIGNAL, EPOLLIN)
    watch_await(w, w.timer, EVENT_TIMER, EPOLLIN | EPOLLET)  # so that nobody has to read how often it expired
    watch_await(w, w.resolver.fd, EVENT_RESOLVER, EPOLLIN)
    watch_await(w, w.scrapes.listener, EVENT_LISTENER, EPOLLIN | EPOLLET)
    w.scrapes.epoll = w.epoll
    w.scrapes.first_event = EVENT_SCRAPE
    watch_reserve_descriptors(w)
    w.sampler.on_sample = watch_on_sample
    w.sampler.context = w
    return sampler_open(&w.sampler, &w.options, &w.url, &w.resolver, w.epoll)


cdef inline void watch_reserve_descriptors(Watch *w) noexcept nogil:
    """Ask for no more at the same time than there can be connections."""
    cdef char bytes[128]
    cdef Text text
    cdef uint64_t limit = 0
    cdef int scrapes = SCRAPES_MAX if w.options.metrics_port else 0
    cdef int allowed = max(descriptors_reserve(w.options.concurrency + scrapes, &limit) - scrapes, 1)
    if allowed >= w.options.concurrency:
        return
    memset(bytes, 0, sizeof(bytes))
    text_open(&text, bytes, sizeof(bytes) - 1)
    text_format(&text, "at most %llu requests at the same time, not %llu, as the limit of open files is %llu",
                <unsigned long long>allowed, <unsigned long long>w.options.concurrency, <unsigned long long>limit)
    w.options.concurrency = allowed
    watch_complain(bytes)


cdef inline void watch_await(Watch *w, int fd, int number, uint32_t events) noexcept nogil:
    """Have a descriptor watched, if there is one."""
    cdef epoll_event event
    event.events = events
    event.data.u64 = <uint64_t>number
    if fd >= 0:
        epoll_ctl(w.epoll, EPOLL_CTL_ADD, fd, &event)


cdef inline bint watch_give_up_rights(const Watch *w, Text *message) noexcept nogil:
    """As much as the kernel supports; False, with a message, if that is less than what is required."""
    cdef int refused = 0
    if w.sandbox != SANDBOX_OFF:
        sandbox_enter(OF_WATCH, <int>w.process, -1, &refused)
    if w.sandbox == SANDBOX_REQUIRE and refused:
        sandbox_refusal_message(message, refused, "YINYANG_SANDBOX=auto")
        return False
    return True


# ---- meanwhile ----------------------------------------------------------------------------------------------------

cdef inline void watch_run(Watch *w) noexcept nogil:
    """Until the duration, the count or the share is reached, or a signal comes."""
    cdef epoll_event events[EVENTS_MAX]
    cdef int count, i
    cdef int64_t now = monotonic_us()
    tally_open(&w.tally, &w.options, now)
    w.print_due = now + (FRAME if w.mode == MODE_SCREEN else LINE)
    watch_print_begin(w, now)
    sampler_begin(&w.sampler, now)
    watch_end_if_done(w, now)
    while not w.is_over:
        watch_set_timer(w, now)
        count = epoll_wait(w.epoll, events, EVENTS_MAX, -1)
        now = monotonic_us()
        sampler_wake(&w.sampler, now)
        for i in range(max(count, 0)):
            if not w.is_over:
                watch_event(w, events[i].data.u64, events[i].events, now)
        if w.leaving:
            watch_leave(w)
        now = monotonic_us()
        if not w.is_over:
            sampler_turn(&w.sampler, now)
        scrapes_turn(&w.scrapes, now)
        if not w.is_over and now >= w.print_due:
            watch_print_meanwhile(w, now)
        watch_end_if_done(w, now)


cdef inline void watch_leave(Watch *w) noexcept nogil:
    """Give the terminal back, and do what the signal does: stop, or die. When it goes on, take the terminal again."""
    cdef char bytes[64]
    cdef sigset_t signals
    cdef Text text
    text_open(&text, bytes, sizeof(bytes))
    terminal_end(&text)
    watch_write(w, &w.output, bytes, text.length)
    sigemptyset(&signals)
    sigaddset(&signals, w.leaving)
    kill(w.process, w.leaving)
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL)
    pthread_sigmask(SIG_BLOCK, &signals, NULL)
    w.leaving = 0
    text_open(&text, bytes, sizeof(bytes))
    terminal_begin(&text)
    watch_write(w, &w.output, bytes, text.length)
    w.print_due = 0


cdef inline void watch_end_if_done(Watch *w, int64_t now) noexcept nogil:
    cdef Text message
    if not w.is_over and sampler_lacks_sockets(&w.sampler, now):
        text_open(&message, w.message, WATCH_MESSAGE_MAX - 1)
        text_string(&message, "no connection can be opened: ")
        text_system_error(&message, w.sampler.lack)
        w.problem = EXIT_WRONG
        watch_end(w, "")
    if not w.is_over and sampler_is_done(&w.sampler, now):
        watch_end(w, "count" if w.tally.samples == w.options.count else "duration")


cdef inline void watch_set_timer(Watch *w, int64_t now) noexcept nogil:
    """Wake up when there is something to do."""
    cdef int64_t due = max(min(sampler_due(&w.sampler, now), w.print_due), 1)
    cdef itimerspec time
    if due == w.timer_due and due > now:
        return
    w.timer_due = due
    memset(&time, 0, sizeof(time))
    time.it_value.tv_sec = due // US_PER_SECOND
    time.it_value.tv_nsec = due % US_PER_SECOND * 1000
    timerfd_settime(w.timer, TFD_TIMER_ABSTIME, &time, NULL)


cdef inline void watch_event(Watch *w, uint64_t number, uint32_t events, int64_t now) noexcept nogil:
    if number < EVENT_TIMER:
        sampler_event(&w.sampler, <int>number, events)
    elif number == EVENT_SIGNAL:
        watch_read_signals(w)
    elif number == EVENT_RESOLVER:
        resolver_read(&w.resolver)
        sampler_looked_up(&w.sampler, now)
    elif number == EVENT_LISTENER:
        scrapes_accept(&w.scrapes, now)
    elif number == EVENT_TIMER:  # the loop looks at the time anyway
        w.timer_due = 0  # so it is set again, should its clock be ahead of the one that is read
    else:
        watch_note_waits(w)
        scrapes_event(&w.scrapes, <int>(number - EVENT_SCRAPE), &w.tally, now)


cdef inline void watch_on_sample(void *context, const WatchSample *sample, const Answer *answer) noexcept nogil:
    cdef Watch *w = <Watch *>context
    if w.is_over:
        return
    w.has_answered = w.has_answered or sample.is_answer
    if not w.has_answered and w.url.user.bytes == NULL and watch_needs_login(w, sample, answer):
        return
    if sample.end - w.tally.last_answer > STALL_LEAST:
        watch_note_waits(w)  # the first of them may have begun before this one
    tally_add(&w.tally, sample)
    if w.mode == MODE_SAMPLES:
        w.sample = sample
        watch_print(w, &w.output, PRINT_SAMPLE, sample.end)
    if w.tally.goal_reached != NOT_GIVEN:
        watch_end(w, "until")


cdef inline bint watch_needs_login(Watch *w, const WatchSample *sample, const Answer *answer) noexcept nogil:
    """Whether this is the answer to somebody who is to log in, and no failure of a replica: then there is no use in
    going on."""
    cdef Text message
    cdef bint is_redirect
    if answer == NULL or sample.replica.host.length:
        return False
    is_redirect = 300 < answer.status < 400 and answer.status != 304 and answer.location.bytes != NULL
    if answer.status != 401 and answer.status != 403 and not is_redirect:
        return False
    memset(w.message, 0, WATCH_MESSAGE_MAX)
    text_open(&message, w.message, WATCH_MESSAGE_MAX - 1)
    text_format(&message, "needs a login%s: %s answers ", ", or another URL" if is_redirect else "",
                w.options.display_url)
    text_number(&message, <uint64_t>answer.status)
    if is_redirect:
        text_string(&message, ", and leads to ")
        text_location(&message, answer)
    else:
        text_string(&message, "; give one as in http://USER:PASSWORD@localhost:8080/")
    w.problem = EXIT_WRONG
    watch_end(w, "")
    return True


cdef inline void text_location(Text *text, const Answer *answer) noexcept nogil:
    """Where a redirect leads to, without the query, which may hold secrets."""
    cdef Writer writer
    cdef size_t length = 0
    while length < answer.location.length and answer.location.bytes[length] != b'?':
        length += 1
    writer.text = text
    writer.form = FORM_PLAIN
    write_bytes(&writer, answer.location.bytes, length)  # the end of the head lies behind


# ---- the end ------------------------------------------------------------------------------------------------------

cdef inline int watch_finish(Watch *w) noexcept nogil:
    """Print the last, and choose the exit code."""
    cdef char bytes[64]
    cdef Text text
    cdef int64_t now
    cdef bint has_end = (w.options.duration != NOT_GIVEN or w.options.count != NOT_GIVEN or w.options.has_goal)
    if w.output.error and w.signals:
        watch_read_signals(w)  # the hangup of a terminal is the reason, not the error
    if w.mode == MODE_SCREEN:
        text_open(&text, bytes, sizeof(bytes))
        terminal_end(&text)
        watch_write(w, &w.output, bytes, text.length)
    now = monotonic_us()
    watch_note_waits(w)
    tally_end(&w.tally, now)
    if not w.problem:
        watch_print_last(w, now)
    if w.output.error == EPIPE and not w.problem:  # who read it has ended
        return EXIT_SIGNAL + SIGPIPE
    if not w.problem:
        watch_print(w, &w.errors, PRINT_CLOSING, now)
    if w.output.error and not w.signal and not w.problem:
        text_open(&text, w.message, WATCH_MESSAGE_MAX - 1)
        text_string(&text, "the output cannot be written: ")
        text_system_error(&text, w.output.error)
        w.problem = EXIT_WRONG
    watch_write_junit(w, now)
    if w.problem:
        watch_print(w, &w.errors, PRINT_PROBLEM, now)
        return w.problem
    if w.signal and (has_end or w.output.error):
        return EXIT_SIGNAL + w.signal
    return EXIT_HOLDS if expectations_hold(&w.tally, now) else EXIT_FAILS
