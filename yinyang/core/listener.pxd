"""The listening socket: where to listen, opening it, and what to say when that fails."""

from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memset

from .system cimport (
    AF_INET, AF_INET6, EACCES, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, INET6_ADDRSTRLEN, IPPROTO_IPV6, IPPROTO_TCP,
    IPV6_V6ONLY, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, SO_REUSEADDR, TCP_NODELAY, bind, close, errno,
    getsockname, htons, inet_pton, listen, ntohs, setsockopt, sockaddr, sockaddr_in, sockaddr_in6,
    sockaddr_storage, socket, socklen_t
)
from .text cimport Text, text_number, text_string, text_system_error

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
    address.size = sizeof(address.storage)
    if getsockname(fd, <sockaddr *>&address.storage, &address.size) < 0:
        return -errno
    if address.storage.ss_family == AF_INET:
        text_address_4(text, <const uint8_t *>&four.sin_addr)
        return ntohs(four.sin_port)
    text_address_6(text, six.sin6_addr.s6_addr)
    return ntohs(six.sin6_port)


cdef inline void text_address_4(Text *text, const uint8_t *bytes) noexcept nogil:
    cdef int i
    for i in range(4):
        if i:
            text_string(text, ".")
        text_number(text, bytes[i])


cdef inline void text_address_6(Text *text, const uint8_t *bytes) noexcept nogil:
    """As RFC 5952 section 4 asks: the first of the longest runs of zero groups, if of two or more, as `::`. Not by
    inet_ntop(3), which would bring all of printf(3) into the static program."""
    cdef int begin = 0, length = 0  # of that run
    cdef int run = 0
    cdef int i
    for i in range(8):
        run = 0 if bytes[2 * i] or bytes[2 * i + 1] else run + 1
        if run > length:
            length = run
            begin = i + 1 - run
    if length < 2:
        length = 0
    i = 0
    while i < 8:
        if length and i == begin:
            text_string(text, "::")
            i += length
            continue
        if i and not (length and i == begin + length):
            text_string(text, ":")
        text_number(text, <unsigned int>bytes[2 * i] << 8 | bytes[2 * i + 1], 16)
        i += 1


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
    cdef Address address
    cdef bint six = address_parse(&address, host, port) and address.storage.ss_family == AF_INET6
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
        text_system_error(text, error)
