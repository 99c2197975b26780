"""The client of --healthcheck: an orchestrator runs it in a container that holds no other program."""

from libc.stdint cimport int64_t
from libc.string cimport memcmp, strlen

from ..os.address cimport Address, address_is_any, address_make_local, address_parse, text_url
from ..os.syscalls cimport (
    AF_INET6, EADDRNOTAVAIL, EAFNOSUPPORT, EAGAIN, EHOSTUNREACH, EINPROGRESS, ENETUNREACH, ETIMEDOUT, MSG_NOSIGNAL,
    SOCK_CLOEXEC, SOCK_STREAM, SO_RCVTIMEO, SO_SNDTIMEO, close, connect, errno, monotonic_ms, recv, send, sockaddr,
    socket, socket_timeout
)
from ..text.buffer cimport Text, text_open, text_printable, text_put, text_string, text_system_error

cdef enum:
    PATIENCE = 2000  # ms for all of it
    STATUS_LENGTH = 13  # bytes of `HTTP/1.1 200 `


cdef inline bint healthcheck(const char *host, int port, bint proxy_protocol, Text *message) noexcept nogil:
    """Whether the server at an address (NULL: on this host) sends a whole response with 200 in time. If not, the
    message says why. `proxy_protocol`: it wants a PROXY header first. It requests /livez, which is not logged; with
    --plain that is the page, like every path."""
    cdef int64_t deadline = monotonic_ms() + PATIENCE
    cdef const char *where = "::"
    cdef bint has_both
    cdef char status[STATUS_LENGTH]
    cdef Address address, other
    cdef Text response
    cdef int error, second
    if host != NULL:
        where = host
    address_parse(&address, where, port)
    has_both = address_is_any(&address) and address.storage.ss_family == AF_INET6
    address_make_local(&address, True)
    text_open(&response, status, STATUS_LENGTH)
    error = ask(&address, deadline, proxy_protocol, &response)
    if has_both and is_unreachable(error):  # as 127.0.0.1 is not on each host with IPv6
        address_parse(&other, "::1", port)
        second = ask(&other, deadline, proxy_protocol, &response)
        if not is_unreachable(second):
            address = other
            error = second
    if error == 0 and is_healthy(&response):
        return True
    text_string(message, "no healthy server at ")
    text_url(message, &address)
    text_problem(message, error, &response)
    return False


cdef inline int ask(const Address *address, int64_t deadline, bint proxy_protocol, Text *response) noexcept nogil:
    """Connect, and have the response; 0 or errno."""
    cdef int fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)
    cdef int error
    if fd < 0:
        return errno
    socket_timeout(fd, SO_SNDTIMEO, PATIENCE)  # of connect(2) too
    error = 0 if connect(fd, <const sockaddr *>&address.storage, address.size) == 0 else errno_of_call()
    if error == 0:
        error = exchange(fd, deadline, proxy_protocol, response)
    close(fd)
    return error


cdef inline bint is_unreachable(int error) noexcept nogil:
    """Whether it is the error of an address that this host does not have."""
    return error == ENETUNREACH or error == EHOSTUNREACH or error == EADDRNOTAVAIL or error == EAFNOSUPPORT


cdef inline int exchange(int fd, int64_t deadline, bint proxy_protocol, Text *response) noexcept nogil:
    """Send the request, read the response to its end, and keep its beginning; 0 or errno."""
    cdef const char *request = ("PROXY UNKNOWN\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\nUser-Agent: yinyang\r\n"
                                "Connection: close\r\n\r\n")
    cdef char buffer[1024]
    cdef ssize_t received
    cdef int64_t left
    if not proxy_protocol:
        request += strlen("PROXY UNKNOWN\r\n")
    if send(fd, request, strlen(request), MSG_NOSIGNAL) < 0:  # a new connection takes as much at once
        return errno_of_call()
    while True:
        left = deadline - monotonic_ms()
        if left <= 0:
            return ETIMEDOUT
        socket_timeout(fd, SO_RCVTIMEO, <int>left)
        received = recv(fd, buffer, sizeof(buffer), 0)
        if received == 0:
            return 0
        if received < 0:
            return errno_of_call()
        text_put(response, buffer, <size_t>received)


cdef inline int errno_of_call() noexcept nogil:
    """The errno of a call; two of its values mean that the call timed out."""
    return ETIMEDOUT if errno == EAGAIN or errno == EINPROGRESS else errno


cdef inline bint is_healthy(const Text *response) noexcept nogil:
    return response.length > STATUS_LENGTH and memcmp(response.data, "HTTP/1.1 200 ", STATUS_LENGTH) == 0


cdef inline void text_problem(Text *message, int error, const Text *response) noexcept nogil:
    if error:
        text_string(message, ": ")
        text_system_error(message, error)
    elif response.length == 0:
        text_string(message, ": the connection was closed without an answer")
    else:
        text_string(message, ": the answer begins with '")
        text_printable(message, response.data, min(response.length, response.room))
        text_string(message, "'")
