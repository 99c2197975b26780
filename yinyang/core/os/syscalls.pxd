"""The system calls and constants of Linux that the core uses, as the C library declares them; no more.

Calls that can fail are wrapped, where they are used, into the core's one convention: -errno for failure.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t, uint8_t

cdef extern from "<errno.h>" nogil:
    int errno
    enum:
        EPERM
        EINTR
        EPIPE
        EBADF
        ECHILD
        EAGAIN
        ENOMEM
        EACCES
        EINVAL
        ENFILE
        EMFILE
        ENOBUFS
        EAFNOSUPPORT
        ENOTSOCK
        ENOSYS
        EOPNOTSUPP
        EADDRINUSE
        EADDRNOTAVAIL
        ECONNABORTED
        ECONNREFUSED
        ECONNRESET
        EHOSTDOWN
        EHOSTUNREACH
        EINPROGRESS
        ENETDOWN
        ENETUNREACH
        ETIMEDOUT

cdef extern from "<unistd.h>" nogil:
    ctypedef int pid_t
    int close(int fd)
    int dup3(int fd, int copy, int flags)
    int pipe2(int fds[2], int flags)
    ssize_t read(int fd, void *buffer, size_t size)
    ssize_t write(int fd, const void *buffer, size_t size)
    enum:
        SEEK_CUR
    int64_t lseek(int fd, int64_t offset, int whence)
    int isatty(int fd)
    int gethostname(char *name, size_t size)
    pid_t getpid()
    pid_t getppid()
    int getpagesize()
    pid_t fork "_Fork"()  # without the handlers that the embedding program has registered by pthread_atfork(3)
    pid_t fork_whole "fork"()  # with these handlers, and with a heap that the child may use
    void _exit(int code)
    long syscall(long number, ...)
    int ftruncate(int fd, int64_t size)
    char **environ

cdef extern from "<sys/syscall.h>" nogil:
    enum:
        SYS_accept4
        SYS_connect
        SYS_execveat
        SYS_fcntl
        SYS_memfd_create
        SYS_close_range
        SYS_getdents64
        SYS_getpeername
        SYS_getrandom
        SYS_getsockname
        SYS_getsockopt
        SYS_recvfrom
        SYS_sendto
        SYS_setsockopt
        SYS_shutdown
        SYS_socket

cdef extern from "<fcntl.h>" nogil:
    enum:
        FD_CLOEXEC
        F_GETFL
        F_GETFD
        F_SETFD
        F_SETFL
        O_RDONLY
        O_WRONLY
        O_CREAT
        O_CLOEXEC
        O_NOCTTY
        O_NONBLOCK
        O_PATH
        F_ADD_SEALS
        F_SEAL_GROW
        F_SEAL_SEAL
        F_SEAL_SHRINK
    int open(const char *path, int flags, ...)
    int fcntl(int fd, int operation, ...)

cdef extern from "<sys/ioctl.h>" nogil:
    struct winsize:
        unsigned short ws_row
        unsigned short ws_col
    enum:
        TIOCGWINSZ
    int ioctl(int fd, unsigned long request, ...)

cdef extern from "<sys/auxv.h>" nogil:
    enum:
        AT_EXECFN
    unsigned long getauxval(unsigned long type)

cdef extern from "<sys/stat.h>" nogil:
    struct stat:
        unsigned int st_mode
    int fstat(int fd, stat *status)
    bint S_ISFIFO(unsigned int mode)

cdef extern from "<sys/time.h>" nogil:
    struct timeval:
        int64_t tv_sec
        long tv_usec
    struct itimerval:
        timeval it_interval
        timeval it_value
    enum:
        ITIMER_PROF
    int setitimer(int which, const itimerval *value, itimerval *before)

cdef extern from "<time.h>" nogil:
    struct timespec:
        int64_t tv_sec
        long tv_nsec
    enum:
        CLOCK_MONOTONIC
        CLOCK_MONOTONIC_COARSE
        CLOCK_PROCESS_CPUTIME_ID
        CLOCK_REALTIME
        CLOCK_REALTIME_COARSE
    int clock_gettime(int clock, timespec *time)

cdef extern from "<sys/mman.h>" nogil:
    enum:
        PROT_READ
        PROT_WRITE
        MAP_SHARED
        MAP_PRIVATE
        MAP_ANONYMOUS
        MAP_NORESERVE
    void *MAP_FAILED
    void *mmap(void *address, size_t size, int protection, int flags, int fd, int64_t offset)
    int munmap(void *address, size_t size)
    int mprotect(void *address, size_t size, int protection)

cdef extern from "<sys/resource.h>" nogil:
    struct rlimit:
        uint64_t rlim_cur
        uint64_t rlim_max
    enum:
        RLIMIT_NOFILE
    int getrlimit(int resource, rlimit *limit)
    int setrlimit(int resource, const rlimit *limit)

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len
    ssize_t writev(int fd, const iovec *vector, int count)

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    struct sockaddr:
        uint16_t sa_family
    struct sockaddr_storage:
        uint16_t ss_family
    enum:
        AF_UNIX
        AF_UNSPEC
        AF_INET
        AF_INET6
        SOCK_SEQPACKET
        SOCK_STREAM
        SOCK_NONBLOCK
        SOCK_CLOEXEC
        SOL_SOCKET
        SO_ACCEPTCONN
        SO_BINDTOIFINDEX
        SO_DOMAIN
        SO_ERROR
        SO_REUSEADDR
        SO_RCVBUF
        SO_RCVTIMEO
        SO_SNDBUF
        SO_SNDTIMEO
        SO_TYPE
        MSG_DONTWAIT
        MSG_NOSIGNAL
        MSG_PEEK
        MSG_TRUNC
        SHUT_WR
    int socket(int domain, int type, int protocol)
    int socketpair(int domain, int type, int protocol, int fds[2])
    int setsockopt(int fd, int level, int option, const void *value, socklen_t size)
    int getsockopt(int fd, int level, int option, void *value, socklen_t *size)
    int bind(int fd, const sockaddr *address, socklen_t size)
    int listen(int fd, int backlog)
    int connect(int fd, const sockaddr *address, socklen_t size)

cdef extern from "<netdb.h>" nogil:
    struct addrinfo:
        int ai_family
        int ai_socktype
        socklen_t ai_addrlen
        sockaddr *ai_addr
        addrinfo *ai_next
    int getaddrinfo(const char *host, const char *service, const addrinfo *hints, addrinfo **found)
    void freeaddrinfo(addrinfo *found)

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        uint32_t s_addr
    struct in6_addr:
        uint8_t s6_addr[16]
    struct sockaddr_in:
        uint16_t sin_family
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        uint16_t sin6_family
        uint16_t sin6_port
        in6_addr sin6_addr
    enum:
        IPPROTO_IPV6
        IPPROTO_TCP
        IPV6_V6ONLY

cdef extern from "<netinet/tcp.h>" nogil:
    enum:
        TCP_DEFER_ACCEPT
        TCP_NODELAY

cdef extern from "http_chars.h" nogil:
    uint16_t port_bytes(uint16_t port)

cdef extern from "<sys/epoll.h>" nogil:
    union epoll_data:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data data
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLET
        EPOLLEXCLUSIVE
        EPOLLERR
        EPOLLHUP
        EPOLLRDHUP
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
        EPOLL_CTL_MOD
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int count, int timeout)

cdef extern from "<sys/eventfd.h>" nogil:
    enum:
        EFD_CLOEXEC
        EFD_NONBLOCK
    int eventfd(unsigned int start, int flags)

cdef extern from "<sys/timerfd.h>" nogil:
    struct itimerspec:
        timespec it_interval
        timespec it_value
    enum:
        TFD_CLOEXEC
        TFD_NONBLOCK
        TFD_TIMER_ABSTIME
    int timerfd_create(int clock, int flags)
    int timerfd_settime(int fd, int flags, const itimerspec *value, itimerspec *before)

cdef extern from "<sys/signalfd.h>" nogil:
    struct signalfd_siginfo:
        uint32_t ssi_signo
    enum:
        SFD_CLOEXEC
        SFD_NONBLOCK
    int signalfd(int fd, const sigset_t *signals, int flags)

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    enum:
        POLLIN
        POLLOUT
    int poll(pollfd *fds, unsigned long count, int timeout)

cdef extern from "<signal.h>" nogil:
    ctypedef struct sigset_t:
        pass
    ctypedef void (*handler)(int)
    handler SIG_DFL
    handler SIG_IGN
    enum:
        SIG_BLOCK
        SIG_SETMASK
        SIG_UNBLOCK
        SIGHUP
        SIGINT
        SIGKILL
        SIGPIPE
        SIGPROF
        SIGQUIT
        SIGUSR1
        SIGUSR2
        SIGTERM
        SIGTSTP
        SIGWINCH
        SIGXFSZ
    handler signal(int number, handler what)
    int sigemptyset(sigset_t *signals)
    int sigaddset(sigset_t *signals, int number)
    int sigfillset(sigset_t *signals)
    int pthread_sigmask(int how, const sigset_t *signals, sigset_t *before)
    int kill(pid_t pid, int signal)

cdef extern from "<sys/wait.h>" nogil:
    ctypedef struct siginfo_t:
        pid_t si_pid
        int si_code
    enum:
        CLD_STOPPED
        P_ALL
        P_PID
        WCONTINUED
        WEXITED
        WNOHANG
        WNOWAIT
        WSTOPPED
    pid_t waitpid(pid_t pid, int *status, int options)
    int waitid(int kind, unsigned int id, siginfo_t *info, int options)
    bint WIFSIGNALED(int status)
    int WTERMSIG(int status)
    int WEXITSTATUS(int status)

cdef extern from "<sys/prctl.h>" nogil:
    enum:
        PR_GET_DUMPABLE
        PR_SET_DUMPABLE
        PR_SET_PDEATHSIG
        PR_SET_NAME
    int prctl(int option, unsigned long value)

cdef extern from "<sched.h>" nogil:
    ctypedef struct cpu_set_t:
        pass
    int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *cpus)

cdef extern from "<stdlib.h>" nogil:
    char *getenv(const char *name)


cdef enum:  # of memfd_create(2), which not every C library declares
    MFD_CLOEXEC = 1
    MFD_ALLOW_SEALING = 2
    MFD_NOEXEC_SEAL = 8

cdef enum:
    AT_EMPTY_PATH = 0x1000  # of execveat(2), likewise


cdef extern from *:  # calls that messages name
    """
    enum vital_call {
        CALL_NONE,
        CALL_ACCEPT, CALL_EPOLL_WAIT, CALL_RECEIVE, CALL_SEND, CALL_WRITEV, /* of a worker that serves */
        CALL_CLOSE,                                                         /* of both */
        CALL_POLL, CALL_READ,                                               /* of its parent */
        CALL_ADDRESS, CALL_EVENT, CALL_FORK, CALL_PAIR, CALL_PIPE,          /* of a start */
        CALL_COUNT,
    };
    static const char *const call_names[CALL_COUNT] = {
        "", "accept4", "epoll_wait", "recvfrom", "sendto", "writev", "close", "poll", "read", "getsockname", "eventfd2",
        "fork", "socketpair", "pipe2",
    };
    """
    enum:
        CALL_NONE
        CALL_ACCEPT
        CALL_EPOLL_WAIT
        CALL_RECEIVE
        CALL_SEND
        CALL_WRITEV
        CALL_CLOSE
        CALL_POLL
        CALL_READ
        CALL_ADDRESS
        CALL_EVENT
        CALL_FORK
        CALL_PAIR
        CALL_PIPE
        CALL_COUNT
    const char *const call_names[CALL_COUNT]


cdef inline int64_t monotonic_ms() noexcept nogil:
    """Milliseconds since some fixed moment, to the tick (about 4 ms): that is cheap, and exact enough for deadlines."""
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC_COARSE, &time)
    return time.tv_sec * 1000 + time.tv_nsec // 1000000


cdef inline int64_t monotonic_ns() noexcept nogil:
    """Nanoseconds since the same moment, exactly."""
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec * 1000000000 + time.tv_nsec


cdef inline int64_t monotonic_us() noexcept nogil:
    return monotonic_ns() // 1000


cdef inline int64_t wall_ms() noexcept nogil:
    """Milliseconds since 1970."""
    cdef timespec time
    clock_gettime(CLOCK_REALTIME, &time)
    return time.tv_sec * 1000 + time.tv_nsec // 1000000


cdef inline int64_t wall_second() noexcept nogil:
    """Seconds since 1970, as of the last tick."""
    cdef timespec time
    clock_gettime(CLOCK_REALTIME_COARSE, &time)
    return time.tv_sec


cdef inline int64_t own_cpu_time() noexcept nogil:
    """The CPU time that this process has used, in ns."""
    cdef timespec time
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return time.tv_sec * 1000000000 + time.tv_nsec


cdef inline int64_t cpu_time_of(pid_t pid) noexcept nogil:
    """The CPU time that a child has used, in ns, or -errno. clock_getcpuclockid(3) is not used: it makes one more call,
    and the number of the clock is part of Linux's interface."""
    cdef timespec time
    if clock_gettime((-pid - 1) * 8 + 2, &time) < 0:
        return -errno
    return time.tv_sec * 1000000000 + time.tv_nsec


# The functions of the C library are not used. On i386 and s390x, glibc calls socketcall(2) instead, whose arguments the
# sandbox cannot see. musl's accept4 takes EINVAL for a sign of an old kernel, and calls accept(2), which the sandbox
# refuses.

cdef inline int accept_client(int listener) noexcept nogil:
    """accept4(2), without the address."""
    return <int>syscall(SYS_accept4, listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)


cdef inline ssize_t recv(int fd, void *buffer, size_t size, int flags) noexcept nogil:
    return syscall(SYS_recvfrom, fd, buffer, size, flags, NULL, NULL)


cdef inline ssize_t send(int fd, const void *bytes, size_t size, int flags) noexcept nogil:
    return syscall(SYS_sendto, fd, bytes, size, flags, NULL, 0)


cdef inline int refusal_of(int first, int last, int *refused) noexcept nogil:
    """-errno if a sandbox from outside, or an odd kernel, refuses one of the calls from `first` to `last`, else 0.
    `refused` becomes that call. The tries do nothing, because -1 is no descriptor."""
    cdef epoll_event event
    cdef int64_t result = 0
    cdef int call = first
    event.events = 0
    while call <= last:
        if call == CALL_ACCEPT:
            result = accept_client(-1)
        elif call == CALL_EPOLL_WAIT:
            result = epoll_wait(-1, &event, 1, 0)
        elif call == CALL_RECEIVE:
            result = recv(-1, NULL, 0, MSG_DONTWAIT)
        elif call == CALL_SEND:
            result = send(-1, NULL, 0, MSG_DONTWAIT | MSG_NOSIGNAL)
        elif call == CALL_WRITEV:
            result = writev(-1, NULL, 0)
        elif call == CALL_CLOSE:
            result = close(-1)
        elif call == CALL_POLL:
            result = poll(NULL, 0, 0)
        else:
            result = read(-1, NULL, 0)
        if result < 0 and (errno == ENOSYS or errno == EPERM):
            refused[0] = call
            return -errno
        call += 1
    return 0


cdef inline int open_socket(int family, int type) noexcept nogil:
    """socket(2)."""
    return <int>syscall(SYS_socket, family, type, 0)


cdef inline int connect_socket(int fd, const sockaddr *address, socklen_t size) noexcept nogil:
    """connect(2)."""
    return <int>syscall(SYS_connect, fd, address, size)


cdef inline int socket_error(int fd) noexcept nogil:
    """The errno of what a socket did in the background (SO_ERROR); 0 if it went well."""
    cdef int error = 0
    cdef socklen_t size = sizeof(error)
    return errno if syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 else error


cdef inline int shutdown(int fd, int how) noexcept nogil:
    return <int>syscall(SYS_shutdown, fd, how)


cdef inline int socket_address(int fd, bint of_peer, sockaddr *address, socklen_t *size) noexcept nogil:
    """getpeername(2) or getsockname(2)."""
    return <int>syscall(SYS_getpeername if of_peer else SYS_getsockname, fd, address, size)


cdef inline int epoll_watch(int epoll, int operation, int fd, uint32_t events) noexcept nogil:
    """epoll_ctl(2), with the number of the descriptor as the data of its events."""
    cdef epoll_event event
    event.events = events
    event.data.u64 = <uint64_t>fd
    return epoll_ctl(epoll, operation, fd, &event)


cdef inline void socket_option(int fd, int level, int option, int value) noexcept nogil:
    """setsockopt(2) of an option that is a number."""
    syscall(SYS_setsockopt, fd, level, option, &value, sizeof(value))


cdef inline void socket_timeout(int fd, int option, int ms) noexcept nogil:
    """SO_RCVTIMEO or SO_SNDTIMEO, the time that one call may wait; 0 is for ever (socket(7))."""
    cdef timeval timeout
    timeout.tv_sec = ms // 1000
    timeout.tv_usec = ms % 1000 * 1000
    setsockopt(fd, SOL_SOCKET, option, &timeout, sizeof(timeout))


cdef inline void cpu_time_limit(int seconds) noexcept nogil:
    """Have the kernel send SIGPROF after this process has used `seconds` more of CPU time."""
    cdef itimerval limit
    limit.it_interval.tv_sec = limit.it_interval.tv_usec = 0
    limit.it_value.tv_sec = seconds
    limit.it_value.tv_usec = 0
    setitimer(ITIMER_PROF, &limit, NULL)


cdef inline void eventfd_signal(int fd) noexcept nogil:
    """Add 1 to an event (eventfd(2)), which wakes all its waiters."""
    cdef uint64_t one = 1
    if write(fd, &one, sizeof(one)) < 0:
        return  # it is at its highest value, and so raised


cdef inline void *map_memory(size_t size, int flags) noexcept nogil:
    """New memory, filled with zeros, or NULL. Its pages cost nothing until they are touched."""
    cdef void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0)
    return NULL if memory == MAP_FAILED else memory


cdef inline void *map_file(int fd, size_t size) noexcept nogil:
    """The memory of a file, shared with all processes that map it, or NULL."""
    cdef void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
    return NULL if memory == MAP_FAILED else memory


cdef inline int shared_memory_open(size_t size) noexcept nogil:
    """A file of zeros in memory, whose size nobody can change any more; -1 if that fails."""
    cdef int fd = <int>syscall(SYS_memfd_create, b"yinyang", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL)
    if fd < 0 and errno == EINVAL:  # Linux before 6.3 does not know the last flag
        fd = <int>syscall(SYS_memfd_create, b"yinyang", MFD_CLOEXEC | MFD_ALLOW_SEALING)
    if fd < 0:
        return -1
    if ftruncate(fd, <int64_t>size) < 0 or fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0:
        close(fd)
        return -1
    return fd
