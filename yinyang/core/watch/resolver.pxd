"""The addresses of a host name, looked up by the C library in a process of its own.

getaddrinfo(3) may wait for name servers for many seconds, cannot be cancelled, and reads files; a process of its own
lets the watch go on meanwhile, and give up its access to files.
"""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy, memset

from ..os.address cimport Address, address_parse
from ..os.descriptors cimport STANDARD_FDS, close_all_except
from ..os.syscalls cimport (
    AF_UNIX, AF_UNSPEC, PR_SET_PDEATHSIG, SIGKILL, SOCK_CLOEXEC, SOCK_SEQPACKET, SOCK_STREAM, _exit, addrinfo, close,
    errno, fork_whole, freeaddrinfo, getaddrinfo, getpid, getppid, pid_t, prctl, read, socketpair, write
)
from ..os.sandbox cimport sandbox_user
from ..text.buffer cimport Text, text_number, text_open
from .answer cimport lower
from .sample cimport US_PER_SECOND
from .url cimport Url

cdef enum:
    ADDRESSES_MAX = 16  # of a name that are used
    HOST_MAX = 255  # bytes
    LOOK_UP_INTERVAL = US_PER_SECOND  # as addresses change when replicas come and go
    LOOK_UP_AGAIN = US_PER_SECOND // 20  # while there are none: a name server may not know them yet

cdef struct Addresses:
    int count  # 0: the name was not found
    Address list[ADDRESSES_MAX]

cdef struct Resolver:
    int fd  # of the process that looks up names; -1: the host is an address
    bint is_asked  # and has not answered yet
    bint has_answered
    int64_t asked_at  # us
    Addresses found  # latest
    unsigned int turn


cdef inline int resolver_open(Resolver *r, const Url *url, int64_t now) noexcept nogil:
    """Start to look up the host of a URL; 0 or -errno."""
    cdef char host[HOST_MAX + 1]
    cdef int fds[2]
    cdef size_t i
    cdef pid_t parent = getpid()
    cdef pid_t child
    memset(r, 0, sizeof(r[0]))
    r.fd = -1
    memset(host, 0, sizeof(host))
    for i in range(min(url.host.length, <size_t>HOST_MAX)):
        host[i] = <char>lower(url.host.bytes[i])  # musl compares names in /etc/hosts byte by byte
    if address_parse(&r.found.list[0], host, url.port):
        r.found.count = 1
        r.has_answered = True
        return 0
    if socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0:
        return -errno
    child = fork_whole()
    if child < 0:
        return -errno
    if child == 0:
        resolver_serve(fds[1], parent, host, url.port)
        _exit(0)
    close(fds[1])
    r.fd = fds[0]
    resolver_ask(r, now)
    return 0


cdef inline void resolver_serve(int fd, pid_t parent, const char *host, int port) noexcept nogil:
    """Look up the name each time that somebody asks, until nobody is there to ask."""
    cdef Addresses found
    cdef uint8_t question = 0
    cdef int standard
    for standard in range(STANDARD_FDS):  # who reads what the watch prints waits for all who could
        close(standard)
    close_all_except(&fd, 1)
    sandbox_user()
    prctl(PR_SET_PDEATHSIG, SIGKILL)  # which a change of the user would undo
    if getppid() != parent:
        return
    while read(fd, &question, 1) == 1:
        addresses_look_up(&found, host, port)
        if write(fd, &found, sizeof(found)) < 0:
            return


cdef inline void addresses_look_up(Addresses *found, const char *host, int port) noexcept nogil:
    cdef char service[8]
    cdef addrinfo hints
    cdef addrinfo *first = NULL
    cdef addrinfo *one
    cdef Text text
    memset(found, 0, sizeof(found[0]))
    memset(service, 0, sizeof(service))
    memset(&hints, 0, sizeof(hints))
    text_open(&text, service, sizeof(service) - 1)
    text_number(&text, port)
    hints.ai_family = AF_UNSPEC
    hints.ai_socktype = SOCK_STREAM
    if getaddrinfo(host, service, &hints, &first) != 0:
        return
    one = first
    while one != NULL and found.count < ADDRESSES_MAX:
        if one.ai_addrlen <= sizeof(found.list[0].storage):
            memcpy(&found.list[found.count].storage, one.ai_addr, one.ai_addrlen)
            found.list[found.count].size = one.ai_addrlen
            found.count += 1
        one = one.ai_next
    freeaddrinfo(first)


cdef inline void resolver_ask(Resolver *r, int64_t now) noexcept nogil:
    """Have the name looked up again, if that is long ago."""
    cdef int64_t interval = LOOK_UP_INTERVAL if r.found.count else LOOK_UP_AGAIN
    if r.fd < 0 or r.is_asked or (r.has_answered and now - r.asked_at < interval):
        return
    r.asked_at = now
    r.is_asked = write(r.fd, b"?", 1) == 1


cdef inline void resolver_read(Resolver *r) noexcept nogil:
    """Take the addresses that were found; those of before stay where there are none now, as a name server may fail."""
    cdef Addresses found
    cdef ssize_t size = read(r.fd, &found, sizeof(found))
    r.is_asked = False
    r.has_answered = True
    if size == <ssize_t>sizeof(found) and 0 < found.count and found.count <= ADDRESSES_MAX:
        memcpy(&r.found, &found, sizeof(found))
    elif size <= 0:  # it has died: what was found is all that there will be
        close(r.fd)
        r.fd = -1


cdef inline int resolver_take_turn(Resolver *r) noexcept nogil:
    """The number of the address that a request begins with: each in turn, as clients of many kinds do."""
    cdef unsigned int turn = r.turn
    r.turn += 1
    return <int>(turn % <unsigned int>r.found.count) if r.found.count else 0
