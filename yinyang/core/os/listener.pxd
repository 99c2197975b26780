"""The listening socket: opening it or taking it over, and the messages about its address or its error."""

from libc.stdint cimport int64_t
from libc.string cimport memcmp, memset, strlen

from ..text.buffer cimport Text, llu, number_parse, text_format, text_printable, text_string, text_system_error
from .address cimport (
    Address, address_is_any, address_is_of_many, address_make_local, address_parse, address_port, text_url
)
from .control_groups cimport NUMBERS_MAX, file_read
from .handshakes cimport handshakes_defer
from .syscalls cimport (
    AF_INET, AF_INET6, AF_UNSPEC, EACCES, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EINVAL, FD_CLOEXEC, F_GETFL, F_SETFD,
    F_SETFL, IPPROTO_IPV6, IPPROTO_TCP, IPV6_V6ONLY, O_NONBLOCK, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET,
    SO_ACCEPTCONN, SO_BINDTOIFINDEX, SO_DOMAIN, SO_RCVBUF, SO_RCVTIMEO, SO_REUSEADDR, SO_SNDBUF, SO_TYPE, TCP_NODELAY,
    bind, close, connect, errno, fcntl, getenv, getpid, getsockopt, listen, sockaddr, socket,
    socket_address, socket_option, socket_timeout, socklen_t
)

cdef enum:
    BACKLOG = 4096  # connections that wait to be accepted; the kernel lowers it to net.core.somaxconn
    BUFFER_SIZE = 64 * 1024  # bytes that the kernel keeps for a connection in each direction; it takes twice the memory
    LISTEN_FDS_START = 3  # SD_LISTEN_FDS_START: the first descriptor that is handed over
    NO_LISTENER = -1  # none was handed over
    NAMES_SHOWN = 128  # bytes of the names of sockets that a message repeats
    ACCEPT_TIMEOUT = 10  # ms

cdef inline int listener_open(const char *host, int port) noexcept nogil:
    """A socket that listens there, or -errno. Without a host it listens on all addresses: IPv6 and IPv4, or IPv4 alone
    if this host has no IPv6."""
    cdef Address address
    cdef int fd
    if host != NULL:
        address_parse(&address, host, port)
        return -EADDRNOTAVAIL if address_is_of_many(&address) else listener_at(&address)
    address_parse(&address, "::", port)
    fd = listener_at(&address)
    if fd == -EAFNOSUPPORT or fd == -EADDRNOTAVAIL:
        address_parse(&address, "0.0.0.0", port)
        fd = listener_at(&address)
    return fd


cdef inline int listener_at(const Address *address) noexcept nogil:
    """A descriptor or -errno. For any free port, a first socket chooses the number, and the listener is bound to that
    number: only then does it keep its port when it is shut down (listener_revive)."""
    cdef Address chosen
    cdef int first, fd
    if address_port(address):
        return listener_start(bound_socket(address))
    first = bound_socket(address)
    if first < 0:
        return first
    fd = listener_address(first, &chosen)
    if fd == 0:
        fd = bound_socket(&chosen)
    if fd < 0:
        return listener_start(first)  # the port cannot be shared for a moment here
    close(first)
    return listener_start(fd)


cdef inline int listener_start(int fd) noexcept nogil:
    """Have a socket listen, if `fd` is not -errno; return `fd` or -errno."""
    cdef int error
    if fd < 0 or listen(fd, BACKLOG) == 0:
        return fd
    error = errno
    close(fd)
    return -error


cdef inline int bound_socket(const Address *address) noexcept nogil:
    """A descriptor or -errno."""
    cdef int family = address.storage.ss_family
    cdef int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    cdef int error
    if fd < 0:
        return -errno
    socket_option(fd, SOL_SOCKET, SO_REUSEADDR, True)
    listener_set_options(fd)
    if family == AF_INET6:
        socket_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, False)
    if bind(fd, <const sockaddr *>&address.storage, address.size) < 0:
        error = errno
        close(fd)
        return -error
    return fd


cdef inline void listener_set_options(int fd) noexcept nogil:
    """Set the options that each accepted connection inherits, and have silent clients held back."""
    handshakes_defer(fd, True)
    socket_option(fd, IPPROTO_TCP, TCP_NODELAY, True)
    # Otherwise the kernel lets the buffers of a client that reads nothing grow to megabytes. All responses to a
    # segment of requests fit in.
    socket_option(fd, SOL_SOCKET, SO_SNDBUF, BUFFER_SIZE)
    socket_option(fd, SOL_SOCKET, SO_RCVBUF, BUFFER_SIZE)


cdef inline void listener_refuse(int fd) noexcept nogil:
    """Have the kernel refuse new connections and complete handshakes that have begun. So the queue runs empty, and
    closing the socket then resets no connection. The socket is bound to a network device that does not exist: a new
    connection finds no listener there, while one that has begun has found its own. (Linux 5.7. The alternative, a
    packet filter, is forbidden to unprivileged processes.) Do not call it for a socket that was handed over: it would
    refuse for all processes that have it."""
    socket_option(fd, SOL_SOCKET, SO_BINDTOIFINDEX, 0x7FFFFFFF)


cdef inline bint listener_is_open(int fd) noexcept nogil:
    """Whether it still listens: somebody may have shut it down."""
    return listener_property(fd, SO_ACCEPTCONN) == 1


cdef inline int listener_revive(int fd, const Address *address) noexcept nogil:
    """Have a socket that was shut down, or connected, listen again at its address. 0 or -errno. All processes that have
    the socket go on with it."""
    cdef sockaddr nowhere
    cdef Address now
    memset(&nowhere, 0, sizeof(nowhere))
    nowhere.sa_family = AF_UNSPEC
    connect(fd, &nowhere, sizeof(nowhere))  # ends the connection, if there is one
    bind(fd, <const sockaddr *>&address.storage, address.size)  # fails if it still has its address
    if listener_address(fd, &now) < 0 or memcmp(&now.storage, &address.storage, address.size) != 0:
        return -EADDRNOTAVAIL
    return 0 if listen(fd, BACKLOG) == 0 else -errno


# ---- a listener that was handed over ------------------------------------------------------------------------------

cdef inline int listener_inherited(Text *message) noexcept nogil:
    """The socket that was handed over to this process by the protocol of sd_listen_fds(3); NO_LISTENER if there is
    none; -EINVAL, with a message, if it is not exactly one listening TCP socket."""
    cdef const char *pid = getenv("LISTEN_PID")
    cdef const char *count = getenv("LISTEN_FDS")
    cdef const char *names = getenv("LISTEN_FDNAMES")
    cdef int64_t number
    if pid == NULL or count == NULL or number_parse(&pid) != getpid() or pid[0]:
        return NO_LISTENER  # there is none, or it is meant for another process
    number = number_parse(&count)
    if count[0] or number < 0:
        text_string(message, "LISTEN_FDS wants a number")
        return -EINVAL
    if number > 1:
        text_format(message, "%llu sockets were handed over", <llu>number)
        if names != NULL and names[0]:
            text_string(message, " (")
            text_printable(message, names, min(strlen(names), <size_t>NAMES_SHOWN))
            text_string(message, ")")
        text_string(message, ", and only one can be served; have one ListenStream= in the socket unit")
        return -EINVAL
    if number == 0:
        return NO_LISTENER
    return LISTEN_FDS_START if listener_adopt(LISTEN_FDS_START, message) else -EINVAL


cdef inline bint listener_adopt(int fd, Text *message) noexcept nogil:
    """Prepare a socket that another program has opened and may go on using; False, with a message, if it cannot be
    served."""
    cdef int family = listener_property(fd, SO_DOMAIN)
    if (family != AF_INET and family != AF_INET6 or listener_property(fd, SO_TYPE) != SOCK_STREAM
            or listener_property(fd, SO_ACCEPTCONN) != 1):
        text_format(message, "descriptor %llu, which was handed over, is not a TCP socket that listens", <llu>fd)
        return False
    fcntl(fd, F_SETFD, FD_CLOEXEC)
    # All processes that share the socket share this flag, and each needs it to serve.
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL, 0) | O_NONBLOCK)
    # systemd clears the flag when it starts another server (without NonBlocking=). accept4(2) then still returns after
    # this time.
    socket_timeout(fd, SO_RCVTIMEO, ACCEPT_TIMEOUT)
    listener_set_options(fd)
    return True


cdef inline int listener_property(int fd, int option) noexcept nogil:
    """The value of a socket option; -1 if `fd` is no socket."""
    cdef int value = -1
    cdef socklen_t size = sizeof(value)
    return value if getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 else -1


# ---- its address --------------------------------------------------------------------------------------------------

cdef inline int listener_address(int fd, Address *address) noexcept nogil:
    """Find its address; 0 or -errno."""
    memset(address, 0, sizeof(Address))
    address.size = sizeof(address.storage)
    return 0 if socket_address(fd, False, <sockaddr *>&address.storage, &address.size) == 0 else -errno


cdef inline bint listener_has_both(int fd) noexcept nogil:
    """Whether an IPv6 socket accepts connections of IPv4 too."""
    cdef int only = 1
    cdef socklen_t size = sizeof(only)
    getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &size)
    return not only


cdef inline int listener_local_address(int fd, Address *address) noexcept nogil:
    """Find the address by which a client on this host reaches it; 0 or -errno."""
    cdef int error = listener_address(fd, address)
    if error == 0:
        address_make_local(address, listener_has_both(fd))
    return error


cdef inline void listening_message(Text *text, int fd, bint is_shared, bint has_both, int workers) noexcept nogil:
    """The message about the address at which the server listens."""
    cdef Address address
    if listener_address(fd, &address) == 0:
        text_string(text, "Listening on ")
        text_url(text, &address)
        if address_is_any(&address) and address.storage.ss_family == AF_INET6:
            text_string(text, " (all addresses, IPv6 and IPv4)" if has_both else " (all addresses, IPv6)")
    if is_shared:
        text_string(text, ", by a socket that was handed over")
    text_format(text, ", workers: %llu", <llu>workers)


cdef inline int privileged_ports() noexcept nogil:
    """How many ports, from 0 on, need privilege."""
    cdef char content[NUMBERS_MAX]
    cdef const char *pos = content
    cdef int64_t number
    file_read("/proc/sys/net/ipv4/ip_unprivileged_port_start", content, NUMBERS_MAX)
    number = number_parse(&pos)
    return <int>number if 0 <= number <= 65535 else 1024  # as it is where nobody has changed it


cdef inline void listener_error_message(Text *text, int error, const char *host, int port) noexcept nogil:
    """A message of one line: the reason why the server cannot listen, and what to do."""
    text_format(text, "cannot listen on port %llu", <llu>port)
    if host != NULL:
        text_format(text, " of %s", host)
    text_string(text, ": ")
    if error == EADDRINUSE:
        text_string(text, "another program listens there; end it, or choose another port with --port "
                    "(0 is any free one)")
    elif error == EACCES and port < privileged_ports():
        text_format(text, "ports below %llu need privilege here; use --port %llu, or allow it with: "
                    "sysctl net.ipv4.ip_unprivileged_port_start=0", <llu>privileged_ports(),
                    <llu>max(privileged_ports(), 8080))
    elif error == EADDRNOTAVAIL:
        text_string(text, "this host does not have that address; leave out --host to listen on all that it has")
    elif error == EINVAL and host != NULL:
        text_string(text, "an address of one link needs its interface too, and --host cannot tell it; leave out --host "
                    "to listen on all addresses")
    else:
        text_system_error(text, error)
