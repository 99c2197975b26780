"""One worker process: it accepts, serves, drains, and ends; core code only, from fork to exit.

It has five descriptors of its own: the listening socket, which all workers share; an epoll; its lifeline to the parent,
which hangs up when either of the two dies; and the bell, an event that reaches every worker at once and is never
read (each sees it by its edge; a worker that is born after it rang sees it at once).
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from ..config.config cimport Config
from ..http.request_cache cimport request_cache_clear
from ..http.responses cimport Responses, responses_open, responses_set_date
from ..identity.replica cimport Replica
from ..os.atomic cimport atomic_get_u32, atomic_get_u64
from ..os.sandbox cimport SANDBOX_OFF, SANDBOX_REQUIRE, sandbox_enter
from ..os.syscalls cimport (
    EAGAIN, EBADF, EINTR, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOTSOCK, EPOLLET, EPOLLEXCLUSIVE, EPOLLIN,
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, MAP_PRIVATE, MSG_DONTWAIT, MSG_NOSIGNAL, SIGPROF, SIG_DFL, SIG_UNBLOCK,
    accept_client, close, cpu_time_limit, epoll_create1, epoll_event, epoll_wait,
    epoll_watch, errno, eventfd_signal, map_memory, monotonic_ms, pthread_sigmask, send, sigaddset, sigemptyset,
    signal, sigset_t, wall_second
)
from ..shared.scoreboard cimport (
    GUARD_ENTERED, PHASE_SERVING, PHASE_STOPPING, Scoreboard, scoreboard_claim_wakeup, scoreboard_return_wakeup
)
from .connection cimport Clients, client_expired, client_open, client_ready, client_shed, clients_end_idle, clients_open
from .timers cimport LAST_MOMENT, timers_expired, timers_set_limits, timers_timeout

cdef extern from "option_table.h" nogil:
    enum:
        OPTION_ACCESS_LOG
        OPTION_SANDBOX

cdef enum:
    EVENTS_MAX = 64  # of one epoll_wait(2)
    ACCEPT_MAX = 64  # connections in a row, before those that are open have their turn
    EXPIRED_MAX = 64  # deadlines in a row, likewise
    SHARE_RECHECK = 5  # ms until a worker takes a connection that nobody with fewer of them took
    ACCEPT_PAUSE = 100  # ms, when descriptors or memory are short and nothing can be shed, or nothing but errors comes
    NEVER = -1
    STUCK_AFTER = 5  # s of CPU time in one turn, which has some ms of work
    STANDSTILL = 500  # ms: a step of the clock that is longer than that was not spent here

cdef struct Worker:  # what is large comes last, so that the code reaches the rest with short offsets
    Scoreboard *scoreboard
    int listener  # -1 once it is closed
    int lifeline
    int wakeup_fd
    int failed  # errno of what this worker cannot go on after
    int64_t accept_at  # ms: try to accept then, without being told to; or NEVER
    int64_t last_at  # ms: no more connections can come after that; or NEVER
    int64_t clock_read_at  # ms of the monotonic clock, when it was looked at
    int64_t clock_paused  # ms of it that this process could not run
    uint64_t pages_reported
    Clients clients
    Responses responses
    epoll_event events[EVENTS_MAX]


cdef inline int worker_run(Scoreboard *scoreboard, int slot, const Config *config, const Replica *replica, int listener,
                           int lifeline, int wakeup_fd) noexcept nogil:
    """Serve until told to stop, or until the parent is gone. The exit code: 0, or the errno of what made it end."""
    cdef Worker *w = <Worker *>map_memory(sizeof(Worker), MAP_PRIVATE)
    cdef int sandbox = config.numbers[OPTION_SANDBOX]
    cdef int error
    if w == NULL:
        return ENOMEM
    w.scoreboard = scoreboard
    w.listener = listener
    w.lifeline = lifeline
    w.wakeup_fd = wakeup_fd
    w.accept_at = NEVER
    w.last_at = NEVER
    w.clients.scoreboard = scoreboard
    w.clients.slot = &scoreboard.slots[slot]
    w.clients.responses = &w.responses
    w.clients.log_pages = config.numbers[OPTION_ACCESS_LOG]
    timers_set_limits(&w.clients.timers, config)
    error = responses_open(&w.responses, replica)
    if error == 0:
        error = clients_open(&w.clients)
    if error == 0:
        error = worker_watch(w)
    worker_enable_watchdog()
    if error == 0 and sandbox != SANDBOX_OFF:
        error = worker_enter_sandbox(w, sandbox == SANDBOX_REQUIRE)
    return worker_serve(w) if error == 0 else -error


cdef inline int worker_watch(Worker *w) noexcept nogil:
    """0 or -errno."""
    w.clients.epoll = epoll_create1(EPOLL_CLOEXEC)
    if w.clients.epoll < 0:
        return -errno
    # the bell first, so that it is heard before anybody is served: it may have rung already
    if (epoll_watch(w.clients.epoll, EPOLL_CTL_ADD, w.wakeup_fd, EPOLLIN | EPOLLET) < 0
            or epoll_watch(w.clients.epoll, EPOLL_CTL_ADD, w.listener, EPOLLIN | EPOLLET | EPOLLEXCLUSIVE) < 0
            or epoll_watch(w.clients.epoll, EPOLL_CTL_ADD, w.lifeline, EPOLLIN) < 0):
        return -errno
    return 0


cdef inline int worker_enter_sandbox(Worker *w, bint required) noexcept nogil:
    """0 or -errno."""
    cdef int guards = sandbox_enter(False, required)
    if guards < 0:
        return guards
    w.clients.slot.guards = GUARD_ENTERED | <uint64_t>guards
    send(w.lifeline, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL)
    return 0


cdef inline int worker_serve(Worker *w) noexcept nogil:
    cdef int count, timeout, i
    cdef uint64_t fd
    worker_clock(w, -1)
    while True:
        timeout = worker_timeout(w)
        count = epoll_wait(w.clients.epoll, w.events, EVENTS_MAX, timeout)
        if count < 0 and errno != EINTR:
            return errno
        w.clients.now = worker_clock(w, timeout)
        if w.clients.second != wall_second():
            w.clients.second = wall_second()
            responses_set_date(w.clients.responses, w.clients.second)
            worker_reset_watchdog()
        for i in range(count):
            fd = w.events[i].data.u64
            if fd == <uint64_t>w.listener:
                worker_accept(w, False)
            elif fd == <uint64_t>w.lifeline:
                return 0  # the parent is gone
            elif fd == <uint64_t>w.wakeup_fd:
                worker_on_wakeup(w)
            else:
                client_ready(&w.clients, <uint32_t>fd)
        worker_check_deadlines(w)
        worker_notify_parent(w)
        if w.failed or w.listener < 0 and w.clients.slot.open == 0:
            return w.failed


cdef inline int64_t worker_clock(Worker *w, int waited) noexcept nogil:
    """Milliseconds in which this worker could run, since some moment; `waited` at most since the last look, or without
    end (-1). While its process is stopped, or its container frozen, its clients cannot be late."""
    cdef int64_t now = monotonic_ms()
    cdef int64_t step = now - w.clock_read_at
    if waited >= 0 and step > waited + STANDSTILL:
        w.clock_paused += step
    w.clock_read_at = now
    return now - w.clock_paused


cdef inline int worker_timeout(Worker *w) noexcept nogil:
    """For epoll_wait(2)."""
    cdef int64_t now
    cdef int timeout
    if w.clients.slot.open == 0 and w.accept_at == NEVER and w.last_at == NEVER:
        return -1
    now = worker_clock(w, 0)
    timeout = timers_timeout(&w.clients.timers, now)
    timeout = timeout_until(timeout, w.accept_at, now)
    return timeout_until(timeout, w.last_at, now)


cdef inline int timeout_until(int timeout, int64_t until, int64_t now) noexcept nogil:
    """A timeout in ms, -1 for none, that a moment may cut short."""
    if until == NEVER or timeout >= 0 and now + timeout <= until:
        return timeout
    return <int>(until - now) if until > now else 0


cdef inline void worker_check_deadlines(Worker *w) noexcept nogil:
    cdef uint32_t fd
    cdef int left = EXPIRED_MAX
    while left:
        fd = timers_expired(&w.clients.timers, w.clients.now)
        if fd == 0:
            break
        client_expired(&w.clients, fd)
        left -= 1
    if w.accept_at != NEVER and w.accept_at <= w.clients.now:
        w.accept_at = NEVER
        worker_accept(w, True)
    if w.last_at != NEVER and w.last_at <= w.clients.now:
        worker_stop_accepting(w)


cdef inline void worker_notify_parent(Worker *w) noexcept nogil:
    """Wake the parent, if there are lines to write and it sleeps; if that fails, in the next turn."""
    if w.clients.slot.pages == w.pages_reported or not w.clients.log_pages:
        return
    if scoreboard_claim_wakeup(w.scoreboard) and send(w.lifeline, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0:
        scoreboard_return_wakeup(w.scoreboard)
    else:
        w.pages_reported = w.clients.slot.pages


# ---- being stuck --------------------------------------------------------------------------------------------------

cdef inline void worker_enable_watchdog() noexcept nogil:
    """Let SIGPROF end this process, as it does by default."""
    cdef sigset_t deadly
    signal(SIGPROF, SIG_DFL)
    sigemptyset(&deadly)
    sigaddset(&deadly, SIGPROF)
    pthread_sigmask(SIG_UNBLOCK, &deadly, NULL)
    worker_reset_watchdog()


cdef inline void worker_reset_watchdog() noexcept nogil:
    """Have the kernel send SIGPROF when this process has run for STUCK_AFTER without coming here again. It counts CPU
    time, so that a worker that has nothing to do is never woken for it."""
    cpu_time_limit(STUCK_AFTER)


# ---- accepting ----------------------------------------------------------------------------------------------------

cdef inline bint worker_has_more_than_share(const Worker *w) noexcept nogil:
    """Does some other worker have clearly fewer connections?"""
    cdef uint64_t fewest = w.clients.slot.open
    cdef uint32_t i
    for i in range(w.scoreboard.workers):
        fewest = min(fewest, atomic_get_u64(&w.scoreboard.slots[i].open))
    return w.clients.slot.open > fewest + (fewest >> 3) + 4


cdef inline void worker_accept(Worker *w, bint whatever_share) noexcept nogil:
    """Accept what is queued. The kernel tells one worker of a connection, by an edge; so a worker that leaves some in
    the queue must tell the others, and come back."""
    cdef int fd
    cdef int left = ACCEPT_MAX
    cdef int errors = 0  # in a row
    cdef bint shed = False  # was one just closed to make room?
    if w.listener < 0:
        return
    while left:
        left -= 1
        if not whatever_share and not w.clients.draining and worker_has_more_than_share(w):
            worker_notify_workers(w)
            w.accept_at = w.clients.now + SHARE_RECHECK
            return
        fd = accept_client(w.listener)
        if fd >= 0:
            shed = False
            errors = 0
            client_open(&w.clients, <uint32_t>fd)
        elif errno == EAGAIN:
            return
        elif errno == EMFILE or errno == ENFILE or errno == ENOBUFS or errno == ENOMEM:
            if shed or not client_shed(&w.clients):
                w.accept_at = w.clients.now + ACCEPT_PAUSE
                return
            shed = True
        elif errno == EBADF or errno == EINVAL or errno == ENOTSOCK:
            w.failed = errno  # there is nothing to accept from, now or ever
            return
        else:  # that connection's alone: it was gone, or the network had bad news of it (accept(2))
            errors += 1
    w.accept_at = w.clients.now + (ACCEPT_PAUSE if errors == ACCEPT_MAX else 0)


cdef inline void worker_notify_workers(Worker *w) noexcept nogil:
    """The bell: heard by all workers, this one too."""
    eventfd_signal(w.wakeup_fd)


cdef inline void worker_on_wakeup(Worker *w) noexcept nogil:
    """Either there is a new phase, or connections are left in the queue for whoever has few."""
    cdef uint32_t phase = atomic_get_u32(&w.scoreboard.phase)
    w.clients.draining = phase != PHASE_SERVING
    request_cache_clear(&w.clients.request_cache)  # an answer while it drains is another one
    if phase == PHASE_STOPPING and w.listener >= 0 and w.last_at == NEVER:
        w.last_at = w.clients.now + LAST_MOMENT
    elif w.clients.draining or not worker_has_more_than_share(w):
        worker_accept(w, False)


cdef inline void worker_stop_accepting(Worker *w) noexcept nogil:
    """Take what is left in the queue, and end what is idle; what is being answered goes on."""
    worker_accept(w, True)
    w.last_at = w.accept_at
    if w.accept_at == NEVER:
        close(w.listener)
        w.listener = -1
        clients_end_idle(&w.clients)
