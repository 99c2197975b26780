"""What a watch has, from its command line to its exit code."""

from libc.stdint cimport int64_t

from ..os.syscalls cimport pid_t
from .options cimport WATCH_URL_MAX, WatchOptions
from .page cimport Page
from .resolver cimport Resolver
from .sample cimport WatchSample
from .sampler cimport SLOT_FREE, Sampler
from .scrapes cimport Scrapes
from .tally cimport Tally
from .terminal cimport Terminal
from .url cimport Url

cdef enum:
    EXIT_HOLDS = 0
    EXIT_FAILS = 1  # an expectation does not hold
    EXIT_WRONG = 2  # it was called wrongly, or cannot watch
    EXIT_SIGNAL = 128  # plus the number of the signal
    WATCH_MESSAGE_MAX = WATCH_URL_MAX + 1024

cdef enum Mode:  # what is printed meanwhile
    MODE_NOTHING
    MODE_SAMPLES  # a line of JSON for each
    MODE_LINES  # one each second
    MODE_SCREEN  # a picture that is drawn again and again

cdef struct Output:
    int fd  # -1: none
    size_t room  # bytes that are written at once
    int error  # errno; nothing more is written

cdef struct Watch:
    WatchOptions options
    Url url
    Tally tally
    Sampler sampler
    Resolver resolver
    Scrapes scrapes
    Terminal terminal
    int mode
    int sandbox  # how much of it is wanted
    int epoll, timer, signals
    pid_t process  # itself
    int64_t timer_due  # us, when the timer expires; 0: it is not set
    Output output
    Output errors
    Output junit
    int64_t print_due
    Page page
    const WatchSample *sample  # that is printed
    bint has_answered  # any replica has
    bint is_over
    int signal  # that has ended it; 0: none
    int leaving  # the signal by which it is to leave the terminal; 0: none
    int64_t give_up_at  # us, when readers that take nothing are left alone
    const char *ended
    int problem  # an exit code, if it cannot go on
    char title[WATCH_URL_MAX + 32]  # of the picture
    char message[WATCH_MESSAGE_MAX]  # about that, or about what is wrong at the beginning; ends with NUL


cdef inline void watch_end(Watch *w, const char *reason) noexcept nogil:
    w.is_over = True
    w.ended = reason


cdef inline void watch_note_waits(Watch *w) noexcept nogil:
    """Tell the tally of the requests that are under way."""
    cdef int i
    w.tally.waiting = 0
    w.tally.waiting_since = 0
    for i in range(w.options.concurrency):
        if w.sampler.slots[i].state != SLOT_FREE:
            if w.tally.waiting == 0 or w.sampler.slots[i].begin < w.tally.waiting_since:
                w.tally.waiting_since = w.sampler.slots[i].begin
            w.tally.waiting += 1
            w.tally.latest_start = max(w.tally.latest_start, w.sampler.slots[i].begin)
    w.tally.sent = max(w.tally.sent, w.tally.samples + w.tally.waiting)
