"""The system calls and constants of Linux that the core uses, as the C library declares them; no more.

Calls that can fail are wrapped, where they are used, into the core's one convention: -errno for failure.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t, uint8_t

cdef extern from "<errno.h>" nogil:
    int errno
    enum:
        EINTR
        EBADF
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
        EADDRINUSE
        EADDRNOTAVAIL
        EINPROGRESS
        ETIMEDOUT

cdef extern from "<unistd.h>" nogil:
    ctypedef int pid_t
    int close(int fd)
    int dup(int fd)
    int pipe2(int fds[2], int flags)
    ssize_t read(int fd, void *buffer, size_t size)
    ssize_t write(int fd, const void *buffer, size_t size)
    enum:
        SEEK_CUR
        SEEK_END
    int64_t lseek(int fd, int64_t offset, int whence)
    int gethostname(char *name, size_t size)
    pid_t getpid()
    pid_t getppid()
    pid_t fork()
    void _exit(int code)
    long syscall(long number, ...)

cdef extern from "<sys/syscall.h>" nogil:
    enum:
        SYS_close_range

cdef extern from "<fcntl.h>" nogil:
    enum:
        O_RDONLY
        O_CLOEXEC
        O_NONBLOCK
    int open(const char *path, int flags)

cdef extern from "<sys/time.h>" nogil:
    struct timeval:
        int64_t tv_sec
        long tv_usec

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

cdef extern from "<sys/resource.h>" nogil:
    struct rlimit:
        uint64_t rlim_cur
    enum:
        RLIMIT_NOFILE
    int getrlimit(int resource, rlimit *limit)

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    struct sockaddr:
        uint16_t sa_family
    struct sockaddr_storage:
        uint16_t ss_family
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    enum:
        AF_UNIX
        AF_INET
        AF_INET6
        SOCK_STREAM
        SOCK_NONBLOCK
        SOCK_CLOEXEC
        SOL_SOCKET
        SO_BINDTOIFINDEX
        SO_REUSEADDR
        SO_RCVTIMEO
        SO_SNDTIMEO
        MSG_DONTWAIT
        MSG_NOSIGNAL
        MSG_TRUNC
        SHUT_WR
    int socket(int domain, int type, int protocol)
    int socketpair(int domain, int type, int protocol, int fds[2])
    int setsockopt(int fd, int level, int option, const void *value, socklen_t size)
    int bind(int fd, const sockaddr *address, socklen_t size)
    int listen(int fd, int backlog)
    int connect(int fd, const sockaddr *address, socklen_t size)
    int getsockname(int fd, sockaddr *address, socklen_t *size)
    int accept4(int fd, sockaddr *address, socklen_t *size, int flags)
    ssize_t recv(int fd, void *buffer, size_t size, int flags)
    ssize_t send(int fd, const void *bytes, size_t size, int flags)
    ssize_t sendmsg(int fd, const msghdr *message, int flags)
    int shutdown(int fd, int how)

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
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_MOD
    int epoll_create1(int flags)
    int epoll_wait(int epoll, epoll_event *events, int count, int timeout)

cdef extern from "<sys/eventfd.h>" nogil:
    enum:
        EFD_CLOEXEC
        EFD_NONBLOCK
    int eventfd(unsigned int start, int flags)

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
    enum:
        SIG_SETMASK
        SIG_UNBLOCK
        SIGKILL
        SIGPROF
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
        PR_SET_PDEATHSIG
        PR_SET_NAME
    int prctl(int option, unsigned long value)

cdef extern from "<sched.h>" nogil:
    ctypedef struct cpu_set_t:
        pass
    int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *cpus)

cdef extern from "<stdlib.h>" nogil:
    char *getenv(const char *name)

cdef extern from "calls.h" nogil:
    int64_t monotonic_ms()
    int64_t wall_second()
    int epoll_watch(int epoll, int operation, int fd, uint32_t events)
    void socket_option(int fd, int level, int option, int value)
    void cpu_time_limit(int seconds)
    void eventfd_signal(int fd)


cdef inline void *map_memory(size_t size, int flags) noexcept nogil:
    """Zeroed memory of its own, or NULL. Pages cost nothing until they are touched."""
    cdef void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0)
    return NULL if memory == MAP_FAILED else memory
