"""The listening socket: where to listen, opening it, and what to say when that fails."""

from libc.stdint cimport uint16_t
from libc.string cimport memset, strchr

from .system cimport (
    AF_INET, AF_INET6, EACCES, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, INET6_ADDRSTRLEN, IPPROTO_IPV6, IPPROTO_TCP,
    IPV6_V6ONLY, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, SO_REUSEADDR, TCP_NODELAY, bind, close, errno,
    getsockname, htons, inet_ntop, inet_pton, listen, ntohs, setsockopt, sockaddr, sockaddr_in, sockaddr_in6,
    sockaddr_storage, socket, socklen_t, strerror
)
from .text cimport Text, text_number, text_string

cdef enum:
    BACKLOG = 4096  # connections that wait to be accepted; the kernel lowers it to net.core.somaxconn

cdef struct Address:
    sockaddr_storage storage
    socklen_t size


cdef inline bint address_parse(Address *address, const char *host, int port) noexcept nogil:
    """From a numeric address, IPv4 or IPv6; False if it is neither."""
    cdef sockaddr_in *four = <sockaddr_in *>&address.storage
    cdef sockaddr_in6 *six = <sockaddr_in6 *>&address.storage
    memset(address, 0, sizeof(Address))
    if inet_pton(AF_INET, host, &four.sin_addr) == 1:
        four.sin_family = AF_INET
        four.sin_port = htons(<uint16_t>port)
        address.size = sizeof(sockaddr_in)
        return True
    if inet_pton(AF_INET6, host, &six.sin6_addr) == 1:
        six.sin6_family = AF_INET6
        six.sin6_port = htons(<uint16_t>port)
        address.size = sizeof(sockaddr_in6)
        return True
    return False


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
    cdef int on = 1
    cdef int off = 0
    cdef int error
    if fd < 0:
        return -errno
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on))
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on))
    if family == AF_INET6:
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off))
    if bind(fd, <const sockaddr *>&address.storage, address.size) < 0 or listen(fd, BACKLOG) < 0:
        error = errno
        close(fd)
        return -error
    return fd


cdef inline int listener_address(int fd, Text *text) noexcept nogil:
    """Put the address that a listener has into the text; its port, or -errno."""
    cdef Address address
    cdef sockaddr_in *four = <sockaddr_in *>&address.storage
    cdef sockaddr_in6 *six = <sockaddr_in6 *>&address.storage
    cdef char buffer[INET6_ADDRSTRLEN]
    cdef bint is_four
    address.size = sizeof(address.storage)
    if getsockname(fd, <sockaddr *>&address.storage, &address.size) < 0:
        return -errno
    is_four = address.storage.ss_family == AF_INET
    inet_ntop(address.storage.ss_family, <void *>&four.sin_addr if is_four else <void *>&six.sin6_addr, buffer,
              INET6_ADDRSTRLEN)
    text_string(text, buffer)
    return ntohs(four.sin_port if is_four else six.sin6_port)


cdef inline void listening_words(Text *text, int fd, int workers) noexcept nogil:
    """The line of the log that tells where the server is."""
    cdef char buffer[INET6_ADDRSTRLEN]
    cdef Text host
    cdef int port
    host.at = buffer
    host.room = INET6_ADDRSTRLEN - 1
    host.length = 0
    port = listener_address(fd, &host)
    buffer[min(host.length, host.room)] = 0
    text_string(text, "Listening on ")
    text_url(text, buffer, port)
    if host.length == 2:  # "::"
        text_string(text, " (all addresses, IPv6 and IPv4)")
    text_string(text, ", workers: ")
    text_number(text, <unsigned int>workers)


cdef inline void text_url(Text *text, const char *host, int port) noexcept nogil:
    cdef bint six = strchr(host, 58) != NULL  # a colon
    text_string(text, "http://[" if six else "http://")
    text_string(text, host)
    text_string(text, "]:" if six else ":")
    text_number(text, <unsigned int>port)


cdef inline void listener_wrong_words(Text *text, int error, const char *host, int port) noexcept nogil:
    """One line on why the server cannot listen, and what to do."""
    text_string(text, "cannot listen on port ")
    text_number(text, <unsigned int>port)
    if host != NULL:
        text_string(text, " of ")
        text_string(text, host)
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
        text_string(text, strerror(error))
