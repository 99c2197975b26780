"""The state of the supervisor and of each worker process, in private memory: no worker can write here."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from ..config.config cimport Config
from ..identity.replica cimport Replica
from ..os.address cimport Address
from ..os.syscalls cimport pid_t, pollfd
from ..shared.page_ring cimport PageReader
from ..shared.scoreboard cimport Scoreboard

cdef enum KillReason:  # why the supervisor killed a worker
    KILL_NONE
    KILL_END  # it did not end in time
    KILL_STOPPED
    KILL_SILENT
    KILL_HUNG_UP  # this reason and all later ones: it is not to be trusted
    KILL_FLOODED
    KILL_LIED

cdef enum:
    NUMBERS_MAX = 64  # bytes

cdef struct Executable:  # the file and the arguments of workers that are executed anew
    int fd  # of this program
    int scoreboard_fd
    const char **arguments  # of a worker: these texts, and those of this program
    char numbers[NUMBERS_MAX]
    char name[320]  # an option
    char workers[32]  # likewise
    char max_connections[48]  # likewise

cdef struct WorkerProcess:
    pid_t pid  # 0: not running
    pid_t abandoned_pid  # of a worker that did not die in time and is still to be waited for; 0: there is none
    int lifeline  # hangs up when the worker dies; a byte on it is the worker's notification. -1: it has hung up
    bint is_up  # it has told that it serves
    bint failed_start  # it ended before any worker had been up, and not by SIGKILL
    int64_t started_at  # ms
    int64_t restart_at  # ms
    int short_lives  # in a row
    int64_t stopped_at  # ms: when it was stopped; 0: it runs
    int64_t hung_up_at  # ms; 0: its lifeline has not hung up
    int64_t killed_at  # ms; 0: the supervisor has not killed it
    int kill_reason  # enum KillReason
    int64_t probed_at  # ms: when it was asked for a turn; 0: it was not
    uint64_t turns  # number of its turns at that time
    int64_t turns_at  # ms: when it was last seen to have taken one
    uint64_t notifications  # that it has sent
    uint64_t notifications_max  # that it may have sent
    PageReader reader
    uint64_t pages  # number of pages that were taken from its slot
    int64_t doubted_at  # ms: since when it has reported more pages than it can have served; 0: it has not
    int64_t cpu_time  # ns, as of the last look
    int64_t cpu_time_before  # of the workers that had its slot before
    pid_t dead_pid  # of a death that is not logged yet; 0: there is none, -1: fork(2) failed
    int dead_status  # as of waitpid(2), or -errno of the fork(2) that failed
    int dead_reason  # enum KillReason, likewise

cdef enum ListenerEvent:  # what is to be logged about the listening socket
    LISTENER_FINE
    LISTENER_REVIVED
    LISTENER_LOST

cdef struct Supervisor:
    Scoreboard scoreboard
    Executable *executable  # NULL: workers stay copies of this process
    const Config *config
    const Replica *replica
    WorkerProcess *processes
    pollfd *pollfds  # of the workers' lifelines, then of the caller, the log and the listener
    int workers
    int running
    int failed_call  # without which it cannot start (os/syscalls.pxd)
    bint has_been_up  # some worker has been
    int listener
    bint listener_is_shared  # with other servers: it was handed over, and is left open for them
    bint listener_has_both  # IPv6 and IPv4
    Address address  # of the listener
    int64_t listener_checked_at  # ms: when it was last found shut down; 0: never
    int listener_event  # enum ListenerEvent
    int listener_error  # errno
    int handshakes  # the kernel's list of them, for the end; or -1
    int wakeup_fd  # an eventfd by which workers wake each other
    int caller_fd  # supervisor_wait returns when it can be read
    bint caller_ready  # whether it could
    int guards  # of the sandbox of this process
    bint sandbox_logged
    uint64_t ready_asked  # by a signal or the caller; as ready_asked of a slot
    uint64_t ready_decided  # the latest of these requests that is in effect
    uint64_t faults_decided  # ns: when the faults that are in effect were asked for; 0: they are those of the options
    bint unready_logged  # the log says that it is not ready
    bint busy  # pages came during the last supervisor_wait
    uint32_t sleep  # number of the last wait for notifications; odd
    int64_t due_at  # ms: the latest time of its next turn
    int64_t turn_at  # ms: the time of its last turn
    int64_t wall_at  # s of the wall clock at that time
    int64_t wall_first  # s: the earliest that the wall clock can have shown since the start
    int64_t wall_last  # s: the latest
    int phase
    bint skips_drain  # when it is told to stop
    bint all_killed
    int64_t drain_deadline  # ms
    int64_t stop_deadline  # ms
