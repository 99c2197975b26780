"""A worker process: it accepts, serves, drains and ends. It runs core code only, from fork to exit.

Its descriptors are the listening socket, which all workers share; an epoll; its lifeline to the parent; and the wakeup,
an eventfd by which a worker wakes all others at once. The lifeline hangs up when the worker or its parent dies; a byte
on it wakes the other. Nobody reads the eventfd: epoll reports each signal to each worker once (edge-triggered).
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from ..config.config cimport Config
from ..http.responses cimport Responses, responses_set_date
from ..identity.replica cimport Replica
from ..os.atomic cimport atomic_get_u64, atomic_set_u64
from ..os.descriptors cimport fill_standard_fds
from ..os.handshakes cimport handshakes_defer
from ..os.sandbox cimport GUARD_DESCRIPTORS, OF_WORKER, SANDBOX_OFF, SANDBOX_REQUIRE, sandbox_enter
from ..os.syscalls cimport (
    CALL_ACCEPT, CALL_CLOSE, CALL_NONE, EAGAIN, EBADF, EINTR, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOTSOCK, EPERM,
    EPOLLET, EPOLLEXCLUSIVE, EPOLLHUP, EPOLLIN, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, MAP_PRIVATE, MSG_DONTWAIT,
    MSG_NOSIGNAL, PR_SET_NAME, SIGPROF, SIG_DFL, SIG_UNBLOCK, accept_client, close, cpu_time_limit, epoll_create1,
    epoll_event, epoll_wait, epoll_watch, errno, eventfd_signal, map_memory, monotonic_ms, prctl, pthread_sigmask, recv,
    refusal_of, send, sigaddset, sigemptyset, signal, sigset_t, wall_second
)
from ..routes.table cimport responses_open
from ..shared.scoreboard cimport (
    PHASE_STOPPING, Scoreboard, WORKER_UP, scoreboard_is_there, scoreboard_phase, scoreboard_protect, scoreboard_sleep,
    scoreboard_slot
)
from .clients cimport Clients, clients_open
from .connection cimport (
    client_end_delay, client_expired, client_open, client_ready, client_shed, clients_end_delays, clients_end_idle
)
from .delays cimport delays_burn, delays_due, delays_timeout
from .timers cimport (
    LAST_MOMENT, LINGER_TIMEOUT_AT_END, WAIT_LINGER, timers_expired, timers_set_limits, timers_timeout
)

cdef extern from "yinyang.h" nogil:
    const char *WORKER_NAME

cdef extern from "option_table.h" nogil:
    enum:
        OPTION_ACCESS_LOG
        OPTION_MAX_CONNECTIONS
        OPTION_PROXY_PROTOCOL
        OPTION_SANDBOX

cdef enum:
    EVENTS_MAX = 64  # of one epoll_wait(2)
    ACCEPT_MAX = 64  # connections in a row, before the open ones have their turn
    EXPIRED_MAX = 64  # deadlines in a row, likewise
    SHARE_RECHECK = 5  # ms until a worker accepts a connection that it has left to workers with fewer
    ACCEPT_PAUSE = 100  # ms, if descriptors or memory run out and nothing can be shed, or if accept(2) only fails
    NEVER = -1
    SILENT_MAX = 256  # clients of all workers that are held back and then say nothing, in a second
    SILENT_PAUSE = 60000  # ms in which no more are held back
    STUCK_AFTER = 5  # s of CPU time in one turn, which takes some ms
    STANDSTILL = 500  # ms: a longer step of the clock means that the process was stopped

cdef enum WorkerState:
    WORKER_SERVING  # accepts connections, and keeps them alive
    WORKER_DRAINING  # accepts connections; each response is the last one on its connection
    WORKER_LAST_CALL  # likewise, for connections that are on their way, until `last_call_ends`
    WORKER_CLOSING  # accepts no connections; ends once the open ones are closed

cdef struct Worker:  # large members come last, so the code reaches the others with short offsets
    const Scoreboard *scoreboard
    int state  # enum WorkerState
    uint32_t phase  # of the server, as of the last turn
    int listener
    bint listener_is_shared  # with other servers
    int lifeline
    int wakeup_fd
    int failed  # the errno of a fatal error
    uint32_t ended_sleep  # number of the last wait of the parent that this worker ended
    int64_t accept_at  # ms: accept then, without an event; or NEVER
    int64_t last_call_ends  # ms; NEVER in the other states
    uint64_t silent_before  # number of silent clients as of the last second
    int64_t defer_at  # ms: hold silent clients back again from then on; NEVER: they are
    int64_t clock_read_at  # ms of the monotonic clock
    int64_t clock_paused  # ms of the monotonic clock in which this process could not run
    uint64_t tasks_reported  # number of lines and commands that the parent knows of, or will look for
    Clients clients
    Responses responses
    epoll_event events[EVENTS_MAX]


cdef inline int worker_run(const Scoreboard *scoreboard, int slot, const Config *config, const Replica *replica,
                           int listener, bint listener_is_shared, int lifeline, int wakeup_fd,
                           bint alone) noexcept nogil:
    """Serve until told to stop, or until the parent is gone. `alone`: it has only these descriptors and the standard
    ones. Returns the exit code: 0, or the errno of a fatal error."""
    cdef Worker *w = <Worker *>map_memory(sizeof(Worker), MAP_PRIVATE)
    cdef int sandbox = config.numbers[OPTION_SANDBOX]
    cdef int guards = 0
    cdef int error
    if w == NULL:
        return ENOMEM
    prctl(PR_SET_NAME, <unsigned long>WORKER_NAME)
    w.scoreboard = scoreboard
    w.listener = listener
    w.listener_is_shared = listener_is_shared
    w.lifeline = lifeline
    w.wakeup_fd = wakeup_fd
    w.accept_at = NEVER
    w.last_call_ends = NEVER
    w.defer_at = NEVER
    w.clients.replica = replica
    w.clients.scoreboard = scoreboard
    w.clients.slot = scoreboard_slot(scoreboard, <uint32_t>slot)
    w.clients.ring_oldest = &scoreboard.notice.workers[slot].oldest
    w.clients.responses = &w.responses
    w.clients.log_pages = config.numbers[OPTION_ACCESS_LOG]
    w.clients.proxy_protocol = config.numbers[OPTION_PROXY_PROTOCOL]
    timers_set_limits(&w.clients.timers, config)
    error = scoreboard_protect(scoreboard, <uint32_t>slot)
    if error == 0:
        error = responses_open(&w.responses, replica)
    if error == 0:
        error = clients_open(&w.clients, config.numbers[OPTION_MAX_CONNECTIONS] // scoreboard.workers)
    if error == 0:
        error = worker_watch(w)
    worker_enable_watchdog()
    if error == 0 and sandbox != SANDBOX_OFF:
        guards = worker_enter_sandbox(w, alone, sandbox == SANDBOX_REQUIRE)
        error = min(guards, 0)
    if error == 0:
        error = worker_try_calls(w)
    if error:
        return -error
    worker_report_up(w, guards)
    return worker_serve(w)


cdef inline int worker_watch(Worker *w) noexcept nogil:
    """Open the epoll, and replace the standard descriptors by it: they are of no use here, and would let a worker write
    into the log. 0 or -errno."""
    cdef int[4] own
    w.clients.epoll = epoll_create1(EPOLL_CLOEXEC)
    if w.clients.epoll < 0:
        return -errno
    # the wakeup comes first, so that its event precedes any other: it may be set already
    if (epoll_watch(w.clients.epoll, EPOLL_CTL_ADD, w.wakeup_fd, EPOLLIN | EPOLLET) < 0
            or epoll_watch(w.clients.epoll, EPOLL_CTL_ADD, w.listener, EPOLLIN | EPOLLET | EPOLLEXCLUSIVE) < 0
            or epoll_watch(w.clients.epoll, EPOLL_CTL_ADD, w.lifeline, EPOLLIN) < 0):
        return -errno
    own[0] = w.listener
    own[1] = w.lifeline
    own[2] = w.wakeup_fd
    own[3] = w.clients.epoll
    return fill_standard_fds(own, 4, w.clients.epoll)


cdef inline int worker_enter_sandbox(Worker *w, bint alone, bint required) noexcept nogil:
    """Enter the sandbox; the guards that hold, or -errno."""
    cdef int refused = 0
    cdef int guards = sandbox_enter(OF_WORKER, w.wakeup_fd, -1, &refused)
    if alone:
        guards |= GUARD_DESCRIPTORS
    else:
        refused = GUARD_DESCRIPTORS
    return -EPERM if required and refused else guards


cdef inline int worker_try_calls(Worker *w) noexcept nogil:
    """-errno if a call is refused without which this worker would take connections and never respond; the parent finds
    in the slot which call. Else 0."""
    cdef int refused = CALL_NONE
    cdef int error = refusal_of(CALL_ACCEPT, CALL_CLOSE, &refused)
    atomic_set_u64(&w.clients.slot.state, <uint64_t>refused)
    return error


cdef inline void worker_report_up(Worker *w, int guards) noexcept nogil:
    """Tell the parent that this worker serves from now on, and what it has given up."""
    atomic_set_u64(&w.clients.slot.state, WORKER_UP | <uint64_t>guards)
    send(w.lifeline, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL)


cdef inline int worker_serve(Worker *w) noexcept nogil:
    cdef int count, timeout, i
    cdef uint64_t fd
    worker_clock(w, -1)
    while True:
        timeout = worker_timeout(w)
        count = epoll_wait(w.clients.epoll, w.events, EVENTS_MAX, timeout)
        atomic_set_u64(&w.clients.slot.turns, w.clients.slot.turns + 1)
        if count < 0 and errno != EINTR:
            return errno
        w.clients.now = worker_clock(w, timeout)
        if w.clients.second != wall_second():
            w.clients.second = wall_second()
            responses_set_date(w.clients.responses, w.clients.second)
            worker_reset_watchdog()
            w.silent_before = w.clients.silent
        worker_check_phase(w)
        for i in range(count):
            fd = w.events[i].data.u64
            if fd == <uint64_t>w.listener:
                worker_accept(w, False)
            elif fd == <uint64_t>w.lifeline:
                if w.events[i].events & EPOLLHUP:
                    return 0  # the parent is gone
                worker_read_lifeline(w)
            elif fd == <uint64_t>w.wakeup_fd:
                worker_on_wakeup(w)
            else:
                client_ready(&w.clients, <uint32_t>fd)
        worker_check_deadlines(w)
        if w.clients.silent - w.silent_before > SILENT_MAX // w.scoreboard.workers and w.defer_at == NEVER:
            worker_stop_deferring(w)
        worker_notify_parent(w)
        if w.failed or w.state == WORKER_CLOSING and w.clients.slot.open == 0:
            return w.failed


cdef inline int64_t worker_clock(Worker *w, int waited) noexcept nogil:
    """A clock in ms that stands still while this process is stopped or its container frozen, because clients are not
    late then. Since the last call, the worker has waited for at most `waited` ms, or without a timeout (-1)."""
    cdef int64_t now = monotonic_ms()
    cdef int64_t step = now - w.clock_read_at
    if waited >= 0 and step > waited + STANDSTILL:
        w.clock_paused += step
    w.clock_read_at = now
    return now - w.clock_paused


cdef inline int worker_timeout(Worker *w) noexcept nogil:
    """The timeout for epoll_wait(2)."""
    cdef int64_t now
    cdef int timeout
    if w.clients.slot.open == 0 and w.accept_at == NEVER and w.last_call_ends == NEVER:
        return -1
    now = worker_clock(w, 0)
    timeout = delays_timeout(&w.clients.delays, timers_timeout(&w.clients.timers, now))
    timeout = timeout_until(timeout, w.accept_at, now)
    return timeout_until(timeout, w.last_call_ends, now)


cdef inline int timeout_until(int timeout, int64_t until, int64_t now) noexcept nogil:
    """A timeout in ms, or -1 for none, that ends at `until` at the latest."""
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
    worker_end_delays(w)
    if w.accept_at != NEVER and w.accept_at <= w.clients.now:
        w.accept_at = NEVER
        worker_accept(w, True)
    if w.state == WORKER_LAST_CALL and w.last_call_ends <= w.clients.now:
        worker_end_last_call(w)
    if w.defer_at != NEVER and w.defer_at <= w.clients.now and not w.clients.draining:
        worker_defer_again(w)


cdef inline void worker_end_delays(Worker *w) noexcept nogil:
    """Send the responses that are due. CPU time for one of them is used in pieces, one in a turn, so that other clients
    need not wait for it."""
    cdef uint32_t fd
    cdef int left = EXPIRED_MAX
    while left:
        fd = delays_due(&w.clients.delays)
        if fd == 0:
            return
        if delays_burn(&w.clients.delays, fd):
            return
        client_end_delay(&w.clients, fd)
        left -= 1


cdef inline void worker_notify_parent(Worker *w) noexcept nogil:
    """Wake the parent by a byte if it sleeps and there are lines to write, or commands; if that fails, try again in the
    next turn."""
    cdef uint32_t sleep
    cdef uint64_t tasks = w.clients.logged + w.clients.slot.commands
    if tasks == w.tasks_reported:
        return
    sleep = scoreboard_sleep(w.scoreboard)
    if sleep and sleep != w.ended_sleep:
        if send(w.lifeline, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0:
            return
        w.ended_sleep = sleep
    w.tasks_reported = tasks


cdef inline void worker_read_lifeline(Worker *w) noexcept nogil:
    """Drop the bytes of the parent, and look at the phase again: the parent may have changed it since the turn began,
    and the byte that says so is dropped, too."""
    cdef char bytes[64]
    recv(w.lifeline, bytes, sizeof(bytes), MSG_DONTWAIT)
    worker_check_phase(w)


# ---- the watchdog -------------------------------------------------------------------------------------------------

cdef inline void worker_enable_watchdog() noexcept nogil:
    """Let SIGPROF end this process, which is its default action."""
    cdef sigset_t deadly
    signal(SIGPROF, SIG_DFL)
    sigemptyset(&deadly)
    sigaddset(&deadly, SIGPROF)
    pthread_sigmask(SIG_UNBLOCK, &deadly, NULL)
    worker_reset_watchdog()


cdef inline void worker_reset_watchdog() noexcept nogil:
    """Have the kernel send SIGPROF after STUCK_AFTER of CPU time, unless this is called again. An idle worker uses
    none, so the timer never wakes it."""
    cpu_time_limit(STUCK_AFTER)


# ---- accepting ----------------------------------------------------------------------------------------------------

cdef inline bint worker_has_more_than_share(const Worker *w) noexcept nogil:
    """Whether another worker has clearly fewer connections. A dead or stopped worker does not count."""
    cdef uint64_t fewest = w.clients.slot.open
    cdef uint32_t i
    for i in range(w.scoreboard.workers):
        if scoreboard_is_there(w.scoreboard, i):
            fewest = min(fewest, atomic_get_u64(&scoreboard_slot(w.scoreboard, i).open))
    return w.clients.slot.open > fewest + (fewest >> 3) + 4


cdef inline void worker_accept(Worker *w, bint whatever_share) noexcept nogil:
    """Accept the queued connections. The kernel reports a connection to one worker, by an edge; so a worker that
    leaves some in the queue must notify the others, and try again."""
    cdef int fd
    cdef int left = ACCEPT_MAX
    cdef int errors = 0  # in a row
    cdef bint shed = False  # one was just closed to make room
    cdef bint somebody_waits = True  # as far as is known
    if w.state == WORKER_CLOSING:
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
            somebody_waits = w.state == WORKER_LAST_CALL
            client_open(&w.clients, <uint32_t>fd)
        elif errno == EAGAIN:
            return
        elif errno == EMFILE or errno == ENFILE or errno == ENOBUFS or errno == ENOMEM:
            if not somebody_waits:  # accept4(2) takes a descriptor before it looks at the queue
                worker_rewatch_listener(w)
                return
            if shed or not client_shed(&w.clients):
                w.accept_at = w.clients.now + ACCEPT_PAUSE
                return
            shed = True
        elif errno == EINVAL:  # somebody has shut the listening socket down, and the parent has it listen again
            if w.state != WORKER_LAST_CALL:
                w.accept_at = w.clients.now + ACCEPT_PAUSE
            return
        elif errno == EBADF or errno == ENOTSOCK:
            w.failed = errno  # the listening socket is unusable
            return
        else:  # an error of that connection only, such as a reset (accept(2))
            errors += 1
    w.accept_at = w.clients.now + (ACCEPT_PAUSE if errors == ACCEPT_MAX else 0)


cdef inline void worker_rewatch_listener(Worker *w) noexcept nogil:
    """Have epoll report the listener in the next turn, if connections are queued. An exclusive watch cannot be
    modified, so it is removed and added."""
    if (epoll_watch(w.clients.epoll, EPOLL_CTL_DEL, w.listener, 0) < 0
            or epoll_watch(w.clients.epoll, EPOLL_CTL_ADD, w.listener, EPOLLIN | EPOLLET | EPOLLEXCLUSIVE) < 0):
        w.failed = errno


cdef inline void worker_stop_deferring(Worker *w) noexcept nogil:
    """Too many silent clients come. Where the kernel sends no SYN cookies, those that are held back fill its queue, and
    others could not connect."""
    w.defer_at = w.clients.now + SILENT_PAUSE
    handshakes_defer(w.listener, False)


cdef inline void worker_defer_again(Worker *w) noexcept nogil:
    """Hold silent clients back again; but not while the server ends, which the parent may just have begun."""
    w.defer_at = NEVER
    handshakes_defer(w.listener, True)
    if scoreboard_phase(w.scoreboard) != w.phase:
        handshakes_defer(w.listener, False)


cdef inline void worker_notify_workers(Worker *w) noexcept nogil:
    """Wake all workers, this one too."""
    eventfd_signal(w.wakeup_fd)


# ---- states -------------------------------------------------------------------------------------------------------

cdef inline void worker_check_phase(Worker *w) noexcept nogil:
    """Look at the phase in each turn before any request, because the wakeup may be reported after requests that came
    later: epoll keeps the place of a connection that it has reported, until it is asked again."""
    cdef uint32_t phase = scoreboard_phase(w.scoreboard)
    if phase == w.phase:
        return
    w.phase = phase
    if phase == PHASE_STOPPING:
        worker_begin_last_call(w)
    else:
        worker_drain(w)


cdef inline void worker_on_wakeup(Worker *w) noexcept nogil:
    """A worker has left connections in the queue for others."""
    if w.clients.draining or not worker_has_more_than_share(w):
        worker_accept(w, False)


cdef inline void worker_drain(Worker *w) noexcept nogil:
    w.state = WORKER_DRAINING
    w.clients.draining = True


cdef inline void worker_begin_last_call(Worker *w) noexcept nogil:
    worker_drain(w)
    w.state = WORKER_LAST_CALL
    w.last_call_ends = w.clients.now + LAST_MOMENT
    if w.listener_is_shared:
        worker_leave_listener(w)


cdef inline void worker_leave_listener(Worker *w) noexcept nogil:
    """Stop watching a listener that other servers share: they accept new connections from now on. This worker accepts
    what is queued, because the kernel may have reported it to no other. Closing the descriptor would not stop the
    events, because other processes have the socket."""
    epoll_watch(w.clients.epoll, EPOLL_CTL_DEL, w.listener, 0)
    worker_accept(w, True)


cdef inline void worker_end_last_call(Worker *w) noexcept nogil:
    """Accept the rest of the queue, then close. If accepting has to pause, the last call goes on until the next try."""
    if w.listener_is_shared:
        w.accept_at = NEVER
    else:
        worker_accept(w, True)
    w.last_call_ends = w.accept_at
    if w.accept_at == NEVER:
        worker_close(w)


cdef inline void worker_close(Worker *w) noexcept nogil:
    """Close the listening socket, and end idle connections. Responses that have begun are completed."""
    w.state = WORKER_CLOSING
    w.clients.timers.limits[WAIT_LINGER] = LINGER_TIMEOUT_AT_END
    close(w.listener)
    clients_end_delays(&w.clients)
    clients_end_idle(&w.clients)
