"""What the supervisor knows of itself and of each worker process."""

from libc.stdint cimport int64_t

from ..config.config cimport Config
from ..identity.replica cimport Replica
from ..os.syscalls cimport pid_t, pollfd
from ..shared.scoreboard cimport Scoreboard

cdef enum:
    NUMBERS_MAX = 64  # bytes

cdef struct Executable:  # by which workers are executed anew
    int fd  # of this program
    int scoreboard_fd
    const char **arguments  # of a worker: these texts, and those of this program
    char numbers[NUMBERS_MAX]
    char name[320]  # an option
    char workers[32]  # likewise
    char max_connections[48]  # likewise

cdef struct WorkerProcess:
    pid_t pid  # 0: not running
    int lifeline  # hangs up when the worker dies; a byte on it is the worker's notification
    int64_t started_at  # ms
    int64_t restart_at  # ms
    int short_lives  # in a row
    int64_t stopped_at  # ms: since when SIGSTOP or a debugger holds it; 0: it runs
    bint killed_as_hung  # because of that
    pid_t dead_pid  # of a death that is not logged yet; 0: there is none, -1: fork(2) failed
    int dead_status  # as of waitpid(2), or -errno of the fork(2) that failed

cdef struct Supervisor:
    Scoreboard *scoreboard
    Executable *executable  # NULL: workers stay copies of this process
    const Config *config
    const Replica *replica
    WorkerProcess *processes
    pollfd *pollfds  # of the workers' lifelines, then caller_fd, then the log
    int workers
    int running
    int listener
    bint listener_is_shared  # with other servers: it was handed over, and is left open for them
    bint listener_has_both  # IPv6 and IPv4
    int wakeup_fd  # an eventfd that wakes all workers
    int caller_fd  # supervisor_wait returns when it can be read
    bint caller_ready  # which it could
    int guards  # of the sandbox, that hold for this process
    bint sandbox_logged
    bint busy  # pages came during the last supervisor_wait
    int phase
    int64_t drain_deadline  # ms
    int64_t stop_deadline  # ms
