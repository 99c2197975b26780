"""The listening socket: opening it, and the messages about where it listens or why it cannot."""

from libc.string cimport strcmp

from ..text.buffer cimport Text, llu, text_format, text_string, text_system_error
from .address cimport Address, address_parse, text_url
from .syscalls cimport (
    AF_INET6, EACCES, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, IPPROTO_IPV6, IPPROTO_TCP, IPV6_V6ONLY, SOCK_CLOEXEC,
    SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, SO_BINDTOIFINDEX, SO_RCVBUF, SO_REUSEADDR, SO_SNDBUF, TCP_NODELAY,
    bind, close, errno, getsockname, listen, port_bytes, sockaddr, sockaddr_in, socket, socket_option
)

cdef enum:
    BACKLOG = 4096  # connections that wait to be accepted; the kernel lowers it to net.core.somaxconn
    BUFFER_SIZE = 64 * 1024  # bytes of a connection that the kernel keeps in each direction; it takes twice the memory

cdef inline int listener_open(const char *host, int port) noexcept nogil:
    """A socket that listens there, or -errno. Without a host: on all addresses, of IPv6 and IPv4, or of IPv4 alone on a
    host that has no IPv6."""
    cdef Address address
    cdef int fd
    if host != NULL:
        address_parse(&address, host, port)
        return listener_at(&address)
    address_parse(&address, "::", port)
    fd = listener_at(&address)
    if fd == -EAFNOSUPPORT or fd == -EADDRNOTAVAIL:
        address_parse(&address, "0.0.0.0", port)
        fd = listener_at(&address)
    return fd


cdef inline int listener_at(const Address *address) noexcept nogil:
    """A descriptor or -errno. What is set here is inherited by every connection that is accepted."""
    cdef int family = address.storage.ss_family
    cdef int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    cdef int error
    if fd < 0:
        return -errno
    socket_option(fd, SOL_SOCKET, SO_REUSEADDR, True)
    socket_option(fd, IPPROTO_TCP, TCP_NODELAY, True)
    # Else the kernel lets the buffers of a client that reads nothing grow to megabytes. All responses to a segment of
    # requests fit in.
    socket_option(fd, SOL_SOCKET, SO_SNDBUF, BUFFER_SIZE)
    socket_option(fd, SOL_SOCKET, SO_RCVBUF, BUFFER_SIZE)
    if family == AF_INET6:
        socket_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, False)
    if bind(fd, <const sockaddr *>&address.storage, address.size) < 0 or listen(fd, BACKLOG) < 0:
        error = errno
        close(fd)
        return -error
    return fd


cdef inline void listener_refuse(int fd) noexcept nogil:
    """From now on the kernel refuses new connections and completes handshakes that have begun. So the queue runs empty,
    and closing the socket then resets nobody. The socket is bound to a network device that does not exist: a new
    connection finds no listener there, while one that has begun has found its own. (Linux 5.7. The alternative, a
    packet filter, is forbidden to unprivileged processes.)"""
    socket_option(fd, SOL_SOCKET, SO_BINDTOIFINDEX, 0x7FFFFFFF)


cdef inline const char *listener_host(int fd, const char *host, int *port) noexcept nogil:
    """The address that a listener was opened with, or the one that stands for all; and its port, or -errno."""
    cdef Address address
    address.size = sizeof(address.storage)
    if getsockname(fd, <sockaddr *>&address.storage, &address.size) < 0:
        port[0] = -errno
    else:
        # in the same place for both families
        port[0] = port_bytes((<sockaddr_in *>&address.storage).sin_port)
    if host != NULL:
        return host
    return "::" if address.storage.ss_family == AF_INET6 else "0.0.0.0"


cdef inline void listening_message(Text *text, int fd, const char *given, int workers) noexcept nogil:
    """The message about where the server listens; `given` is the host as for listener_open."""
    cdef int port = 0
    cdef const char *host = listener_host(fd, given, &port)
    text_string(text, "Listening on ")
    text_url(text, host, port)
    if strcmp(host, "::") == 0:
        text_string(text, " (all addresses, IPv6 and IPv4)")
    text_format(text, ", workers: %llu", <llu>workers)


cdef inline void listener_error_message(Text *text, int error, const char *host, int port) noexcept nogil:
    """One line on why the server cannot listen, and what to do."""
    text_format(text, "cannot listen on port %llu", <llu>port)
    if host != NULL:
        text_format(text, " of %s", host)
    text_string(text, ": ")
    if error == EADDRINUSE:
        text_string(text, "another program listens there; end it, or choose another port with --port "
                    "(0 is any free one)")
    elif error == EACCES:
        text_string(text, "ports below 1024 need privilege here; use --port 8080, or allow it with: "
                    "sysctl net.ipv4.ip_unprivileged_port_start=0")
    elif error == EADDRNOTAVAIL:
        text_string(text, "this host does not have that address; leave out --host to listen on all that it has")
    else:
        text_system_error(text, error)
