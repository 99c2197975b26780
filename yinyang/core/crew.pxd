"""The crew: the parent's side of its workers. It forks them, watches them, restarts them, drains and ends them.

The parent calls `crew_wait` again and again; in between it takes what was served and writes the log. Whoever calls it
must be the thread that opened the crew, since the kernel ends a worker when the *thread* that forked it ends
(PR_SET_PDEATHSIG in prctl(2)).
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t

from .board cimport (
    Board, GUARD_ENTERED, PHASE_DRAIN, PHASE_LAST, PHASE_SERVE, board_close, board_has_news, board_open, board_sleep
)
from .journal cimport journal_take
from .system cimport (
    AF_UNIX, CLD_STOPPED, EAGAIN, EFD_CLOEXEC, EFD_NONBLOCK, EINTR, ENOMEM, MAP_PRIVATE, MSG_DONTWAIT, POLLIN,
    POLLOUT, PR_SET_NAME, PR_SET_PDEATHSIG, P_ALL, P_PID, SIGKILL, SIGPROF, SIG_SETMASK, SOCK_CLOEXEC,
    SOCK_STREAM, SYS_close_range, WCONTINUED, WEXITED, WEXITSTATUS, WIFSIGNALED, WNOHANG, WNOWAIT, WSTOPPED,
    WTERMSIG, _exit, close, dup, errno,
    event_raise, eventfd, fork, getpid, getppid, kill, map_memory, monotonic_ms, munmap, pid_t, poll, pollfd,
    prctl, pthread_sigmask, recv, sigfillset, siginfo_t, sigset_t, socketpair, syscall, waitid, waitpid
)
from .listener cimport listener_refuse
from .replica cimport Replica
from .sandbox cimport SANDBOX_OFF, sandbox_words
from .text cimport Text, text_format, text_string, text_system_error
from .waits cimport Limits
from .worker cimport worker_run

cdef extern from "atomic.h" nogil:
    uint64_t get_count "atomic_get"(const uint64_t *place)
    void set_moment "atomic_set"(int64_t *place, int64_t value)
    void publish "atomic_publish"(uint32_t *place, uint32_t value)
    uint32_t swap "atomic_swap"(uint32_t *place, uint32_t value)

cdef enum:
    STOP_PATIENCE = 8000  # ms until workers that do not end are killed; Docker kills everything after 10 s
    STOP_PATIENCE_LEAST = 3000  # ms of it that are left when draining is over
    HANG_PATIENCE = 5000  # ms until a worker that was stopped, and not continued, is replaced
    LOG_PACE = 50  # ms between two looks at what was served, while more and more is
    QUICK_DEATH = 1000  # ms: who lives shorter is restarted after a pause
    PAUSE_LEAST = 100  # ms, doubled with every quick death in a row
    PAUSE_MOST = 10000

cdef enum Woken:  # why crew_wait returned: a set
    WOKEN_BY_CALLER = 1
    WOKEN_BY_LOG = 2

cdef struct Member:
    pid_t pid  # 0: not running
    int tether
    int64_t born  # ms
    int64_t due  # ms: when to start it again
    int quick_deaths  # in a row
    int64_t stopped  # ms: since when; 0: it is not
    bint hung  # it was killed for that
    pid_t dead_pid  # of a death that is to be told
    int dead_status  # as of waitpid(2), or -errno of a fork(2) that failed

cdef struct Crew:
    Board *board
    const Replica *replica
    Member *members
    pollfd *polled  # members, then the waker, then the log
    int workers
    int running
    int listener
    int bell
    int waker  # the caller's: crew_wait returns when it can be read
    bint journal
    Limits limits
    int drain  # ms
    int sandbox  # one of Sandbox
    int guards  # of the sandbox, that hold for this process
    bint sandbox_told
    bint busy  # pages came since the last look
    int phase
    int64_t drain_ends  # ms
    int64_t patience_ends  # ms


# ---- opening and closing ------------------------------------------------------------------------------------------

cdef inline int crew_open(Crew *crew, const Replica *replica, int listener, int workers, bint journal,
                          int waker) noexcept nogil:
    """Everything but the workers; 0 or -errno. In either case crew_close is due. `crew` is zeros before, but for its
    limits, `drain` and `sandbox`; `replica` must stay, and `workers` is 1 or more."""
    cdef int i
    crew.bell = -1
    crew.replica = replica
    crew.listener = listener
    crew.workers = workers
    crew.journal = journal
    crew.waker = waker
    crew.board = board_open(workers)
    crew.members = <Member *>map_memory(workers * sizeof(Member), MAP_PRIVATE)
    crew.polled = <pollfd *>map_memory((workers + 2) * sizeof(pollfd), MAP_PRIVATE)
    if crew.board == NULL or crew.members == NULL or crew.polled == NULL:
        return -ENOMEM
    for i in range(workers):
        crew.members[i].tether = -1
    crew.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    return 0 if crew.bell >= 0 else -errno


cdef inline void crew_close(Crew *crew) noexcept nogil:
    """End whatever still runs, and give everything back but the listener."""
    crew_kill(crew)
    while crew.running:
        crew_wait(crew, -1, -1)
    if crew.bell >= 0:
        close(crew.bell)
    board_close(crew.board)
    if crew.members != NULL:
        munmap(crew.members, crew.workers * sizeof(Member))
    if crew.polled != NULL:
        munmap(crew.polled, (crew.workers + 2) * sizeof(pollfd))
    crew.board = NULL
    crew.members = NULL
    crew.polled = NULL
    crew.bell = -1


cdef inline int crew_start(Crew *crew) noexcept nogil:
    """Fork all workers; 0 or -errno."""
    cdef int i, error
    for i in range(crew.workers):
        error = crew_hire(crew, i)
        if error:
            return error
    return 0


cdef inline int crew_hire(Crew *crew, int seat) noexcept nogil:
    """Fork one worker; 0 or -errno."""
    cdef Member *member = &crew.members[seat]
    cdef int ends[2]
    cdef sigset_t all_signals, before
    cdef pid_t parent = getpid()
    cdef pid_t pid
    cdef int error
    if socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0:
        return -errno
    # A worker keeps every signal blocked: those meant for the whole group, such as Ctrl-C, are for the parent, and no
    # handler of the parent's may ever run in a worker. Only SIGPROF is let through, in worker.pxd.
    sigfillset(&all_signals)
    pthread_sigmask(SIG_SETMASK, &all_signals, &before)
    crew.board.seats[seat].open = 0
    pid = fork()
    if pid == 0:
        _exit(crew_work(crew, seat, ends[1], parent))
    error = errno
    pthread_sigmask(SIG_SETMASK, &before, NULL)
    close(ends[1])
    if pid < 0:
        close(ends[0])
        return -error
    member.pid = pid
    member.tether = ends[0]
    member.born = monotonic_ms()
    member.stopped = 0
    # who has just died young is not relied on until it has lived for longer
    set_moment(&crew.board.seats[seat].ready_from, member.born + (QUICK_DEATH if member.quick_deaths else 0))
    crew.running += 1
    return 0


cdef inline int crew_work(Crew *crew, int seat, int tether, pid_t parent) noexcept nogil:
    """What the child does; its exit code. It keeps the standard descriptors, and closes all others of the program that
    it was forked from."""
    cdef int keep[3]
    prctl(PR_SET_PDEATHSIG, SIGKILL)
    if getppid() != parent:
        return 0
    prctl(PR_SET_NAME, <unsigned long><const char *>"yinyang-worker")
    crew_untie_others(crew)
    fill_standard_descriptors(tether)
    keep[0] = crew.listener
    keep[1] = tether
    keep[2] = crew.bell
    close_all_but(keep)
    return worker_run(crew.board, seat, crew.replica, crew.journal, &crew.limits, crew.sandbox, crew.listener, tether,
                      crew.bell)


cdef inline void crew_untie_others(Crew *crew) noexcept nogil:
    """A tether hangs up when its last holder closes it; so where close_range(2) is refused, at least these go."""
    cdef int i
    for i in range(crew.workers):
        if crew.members[i].tether >= 0:
            close(crew.members[i].tether)


cdef inline void fill_standard_descriptors(int fd) noexcept nogil:
    """A program may have been started without stdin, stdout or stderr; no connection may become one of them."""
    cdef int copy = dup(fd)
    while 0 <= copy < 3:
        copy = dup(fd)
    if copy >= 0:
        close(copy)


cdef inline void close_all_but(int *keep) noexcept nogil:
    """Close what is not among three descriptors, nor below 3."""
    cdef int i, j, fd
    cdef unsigned int begin = 3
    for i in range(3):
        for j in range(2 - i):
            if keep[j] > keep[j + 1]:
                fd = keep[j]
                keep[j] = keep[j + 1]
                keep[j + 1] = fd
    for i in range(3):
        if keep[i] >= <int>begin:
            if keep[i] > <int>begin:
                syscall(SYS_close_range, begin, <unsigned int>keep[i] - 1, 0)
            begin = <unsigned int>keep[i] + 1
    syscall(SYS_close_range, begin, ~<unsigned int>0, 0)


# ---- watching -----------------------------------------------------------------------------------------------------

cdef inline int crew_wait(Crew *crew, int log, int most) noexcept nogil:
    """Wait until there is something for the caller to do: pages to log, a death to tell, something on the waker, `log`
    ready to be written (-1: not asked); but not longer than `most` ms (-1: no end). Deaths are seen and workers
    restarted here. A set of Woken."""
    cdef int timeout = crew_timeout(crew, most)
    cdef int count = crew_polled(crew, log)
    cdef int woken = 0
    cdef int i
    if timeout and not crew.busy and not board_sleep(crew.board):
        timeout = 0
    count = poll(crew.polled, <unsigned long>count, timeout)
    swap(&crew.board.asleep, 0)
    if count > 0:
        for i in range(crew.workers):
            if crew.polled[i].revents:
                crew_hear(crew, i)
        if crew.polled[crew.workers].revents:
            woken |= WOKEN_BY_CALLER
        if crew.polled[crew.workers + 1].revents:
            woken |= WOKEN_BY_LOG
    crew_watch_stopped(crew)
    crew_rehire(crew)
    crew_mind_the_end(crew)
    return woken


cdef inline int crew_polled(Crew *crew, int log) noexcept nogil:
    """What poll(2) is to watch; how many that are. It passes over descriptors below 0."""
    cdef int i
    for i in range(crew.workers):
        crew.polled[i].fd = crew.members[i].tether
        crew.polled[i].events = POLLIN
        crew.polled[i].revents = 0
    crew.polled[crew.workers].fd = crew.waker
    crew.polled[crew.workers].events = POLLIN
    crew.polled[crew.workers].revents = 0
    crew.polled[crew.workers + 1].fd = log
    crew.polled[crew.workers + 1].events = POLLOUT
    crew.polled[crew.workers + 1].revents = 0
    return crew.workers + 2


cdef inline int crew_timeout(Crew *crew, int most) noexcept nogil:
    """ms for poll(2), -1 for no end. While pages come, the parent looks at times instead of being rung for each."""
    cdef int64_t now = monotonic_ms()
    cdef int64_t until = now + most if most >= 0 else -1
    cdef int i
    if crew.busy:
        until = sooner_of(until, now + LOG_PACE)
    if crew.phase == PHASE_DRAIN:
        until = sooner_of(until, crew.drain_ends)
    elif crew.phase == PHASE_LAST and crew.running:
        until = sooner_of(until, crew.patience_ends)
    for i in range(crew.workers):
        if crew.members[i].stopped:
            until = sooner_of(until, crew.members[i].stopped + HANG_PATIENCE)
        elif crew.members[i].pid == 0 and crew.phase != PHASE_LAST:
            until = sooner_of(until, crew.members[i].due)
    if until < 0:
        return -1
    return <int>(until - now) if until > now else 0


cdef inline int64_t sooner_of(int64_t until, int64_t moment) noexcept nogil:
    return moment if until < 0 or moment < until else until


cdef inline void crew_hear(Crew *crew, int seat) noexcept nogil:
    """A worker has rung, or is dead."""
    cdef char byte = 0
    cdef ssize_t size = recv(crew.members[seat].tether, &byte, 1, MSG_DONTWAIT)
    if size == 0 or size < 0 and errno != EAGAIN and errno != EINTR:
        crew_bury(crew, seat)


cdef inline void crew_bury(Crew *crew, int seat) noexcept nogil:
    """Wait for a worker that is dead, or about to be, and plan for the next."""
    cdef Member *member = &crew.members[seat]
    cdef int64_t now
    while waitpid(member.pid, &member.dead_status, 0) < 0 and errno == EINTR:
        pass
    now = monotonic_ms()
    close(member.tether)
    member.tether = -1
    member.dead_pid = 0 if crew_expects(crew, member.dead_status) else member.pid
    member.pid = 0
    crew.running -= 1
    crew.board.seats[seat].open = 0
    set_moment(&crew.board.seats[seat].ready_from, INT64_MAX)
    crew_pause(member, now - member.born < QUICK_DEATH, now)


cdef inline void crew_watch_stopped(Crew *crew) noexcept nogil:
    """A worker that somebody has stopped is given some time to be continued, and then replaced. Time in which this
    process was stopped too does not count."""
    cdef siginfo_t info
    cdef Member *member
    cdef int64_t now = monotonic_ms()
    cdef int i
    for i in range(crew.workers):
        member = &crew.members[i]
        info.si_pid = 0
        while member.pid and waitid(P_PID, <unsigned int>member.pid, &info, WSTOPPED | WCONTINUED | WNOHANG) == 0:
            if info.si_pid == 0:
                break
            member.stopped = now if info.si_code == CLD_STOPPED else 0
            set_moment(&crew.board.seats[i].ready_from, INT64_MAX if member.stopped else now)
            info.si_pid = 0
        if member.stopped and now >= member.stopped + HANG_PATIENCE:
            if now >= member.stopped + 2 * HANG_PATIENCE:
                member.stopped = now
            else:
                member.stopped = 0
                member.hung = True
                kill(member.pid, SIGKILL)


cdef inline void crew_reap_orphans(Crew *crew) noexcept nogil:
    """Wait for dead children that are not workers. The first process of a container inherits such; any other program
    must not call this, since its other children are its own business."""
    cdef siginfo_t info
    cdef int seat
    while True:
        info.si_pid = 0
        if waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 or info.si_pid == 0:
            return
        seat = crew_seat_of(crew, info.si_pid)
        if seat < 0:
            waitpid(info.si_pid, NULL, 0)
        else:
            crew_bury(crew, seat)


cdef inline int crew_seat_of(const Crew *crew, pid_t pid) noexcept nogil:
    """-1 if it is no worker."""
    cdef int seat
    for seat in range(crew.workers):
        if crew.members[seat].pid == pid:
            return seat
    return -1


cdef inline bint crew_expects(const Crew *crew, int status) noexcept nogil:
    """Is this how a worker ends that was told to, or was killed for not doing so?"""
    return crew.phase == PHASE_LAST and (status == 0 or WIFSIGNALED(status) and WTERMSIG(status) == SIGKILL)


cdef inline void crew_pause(Member *member, bint quick, int64_t now) noexcept nogil:
    """When to start it again: at once, unless it has just been started; then later with every time."""
    member.due = now
    if not quick:
        member.quick_deaths = 0
        return
    if member.quick_deaths:
        member.due += min(PAUSE_LEAST << min(member.quick_deaths - 1, 16), PAUSE_MOST)
    member.quick_deaths += 1


cdef inline void crew_rehire(Crew *crew) noexcept nogil:
    cdef int64_t now
    cdef int i, error
    if crew.running == crew.workers or crew.phase == PHASE_LAST:
        return
    now = monotonic_ms()
    for i in range(crew.workers):
        if crew.members[i].pid == 0 and crew.members[i].due <= now:
            error = crew_hire(crew, i)
            if error:
                crew.members[i].dead_status = error
                crew.members[i].dead_pid = -1
                crew_pause(&crew.members[i], True, now)


cdef inline bint crew_next_death(Crew *crew, Text *text) noexcept nogil:
    """Put the words about a death that was not told yet into the text; False if there is none."""
    cdef Member *member
    cdef int i
    for i in range(crew.workers):
        member = &crew.members[i]
        if member.dead_pid:
            death_words(text, i, member)
            if crew.phase != PHASE_LAST:
                restart_words(text, member)
            member.dead_pid = 0
            member.hung = False
            return True
    return False


cdef inline void death_words(Text *text, int seat, const Member *member) noexcept nogil:
    text_format(text, "Worker %lu", <uint64_t>seat + 1)
    if member.dead_pid < 0:
        text_string(text, " could not be started: ")
        text_system_error(text, -member.dead_status)
        return
    text_format(text, " (pid %lu", <uint64_t>member.dead_pid)
    if member.hung:
        text_string(text, ") did nothing for too long")
    elif WIFSIGNALED(member.dead_status) and WTERMSIG(member.dead_status) == SIGPROF:
        text_string(text, ") was stuck")
    elif WIFSIGNALED(member.dead_status):
        text_format(text, ") was killed by signal %lu", <uint64_t>WTERMSIG(member.dead_status))
    elif WEXITSTATUS(member.dead_status):
        text_string(text, ") could not go on: ")
        text_system_error(text, WEXITSTATUS(member.dead_status))
    else:
        text_string(text, ") ended")


cdef inline void restart_words(Text *text, const Member *member) noexcept nogil:
    if member.pid:
        text_format(text, ", restarted as pid %lu", <uint64_t>member.pid)
    else:
        text_string(text, ", will be restarted")
        if member.quick_deaths > 1:
            text_string(text, " after a pause")


cdef inline bint crew_sandboxed(Crew *crew, Text *text) noexcept nogil:
    """Put the words about the sandbox into the text, when all workers have entered it; False before, and from then
    on."""
    cdef int guards = -1
    cdef int i
    if crew.sandbox == SANDBOX_OFF or crew.sandbox_told:
        return False
    for i in range(crew.workers):
        guards &= <int>get_count(&crew.board.seats[i].guards)
    if not guards & GUARD_ENTERED:
        return False
    sandbox_words(text, crew.guards, guards & ~GUARD_ENTERED)
    crew.sandbox_told = True
    return True


# ---- what was served ----------------------------------------------------------------------------------------------

cdef inline uint64_t crew_take(Crew *crew, int64_t *second) noexcept nogil:
    """Pages that were served in some second and not taken yet; 0 when there are none left, for now."""
    cdef uint64_t count
    cdef int i
    for i in range(crew.workers):
        count = journal_take(&crew.board.seats[i].journal, second)
        if count:
            return count
    return 0


cdef inline bint crew_has_news(Crew *crew) noexcept nogil:
    """Did pages come since the last look? It also sets the pace of crew_wait."""
    crew.busy = board_has_news(crew.board)
    return crew.busy


# ---- ending -------------------------------------------------------------------------------------------------------

cdef inline void crew_stop(Crew *crew) noexcept nogil:
    """Begin to drain: every answer is the last one on its connection. When the time for that is over, no more
    connections come, and the workers end. Then crew_wait, until crew_is_over."""
    if crew.phase != PHASE_SERVE:
        return
    crew.drain_ends = monotonic_ms() + crew.drain
    crew.patience_ends = monotonic_ms() + crew_patience(crew)
    crew_enter(crew, PHASE_DRAIN)
    crew_mind_the_end(crew)


cdef inline int crew_patience(const Crew *crew) noexcept nogil:
    """ms that the end may take."""
    return max(<int>STOP_PATIENCE, crew.drain + STOP_PATIENCE_LEAST)


cdef inline bint crew_is_over(const Crew *crew) noexcept nogil:
    return crew.phase == PHASE_LAST and crew.running == 0


cdef inline void crew_enter(Crew *crew, int phase) noexcept nogil:
    crew.phase = phase
    publish(&crew.board.phase, <uint32_t>phase)
    event_raise(crew.bell)


cdef inline void crew_mind_the_end(Crew *crew) noexcept nogil:
    if crew.phase == PHASE_DRAIN and monotonic_ms() >= crew.drain_ends:
        listener_refuse(crew.listener)
        crew_enter(crew, PHASE_LAST)
    if crew.phase == PHASE_LAST and crew.running and monotonic_ms() >= crew.patience_ends:
        crew_kill(crew)


cdef inline void crew_kill(Crew *crew) noexcept nogil:
    """End all workers at once."""
    cdef int i
    crew.phase = PHASE_LAST
    for i in range(crew.workers if crew.members != NULL else 0):
        if crew.members[i].pid > 0:
            kill(crew.members[i].pid, SIGKILL)
