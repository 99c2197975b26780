"""Asking a server for its page, as an orchestrator does from inside a container that holds no other program."""

from libc.stdint cimport int64_t
from libc.string cimport memcmp, strlen

from .identity cimport name_is_printable
from .listener cimport Address, address_parse, text_url
from .system cimport (
    EAGAIN, EINPROGRESS, ETIMEDOUT, POLLIN, POLLOUT, MSG_NOSIGNAL, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM,
    SOL_SOCKET, SO_ERROR, close, connect, errno, getsockopt, monotonic_ms, poll, pollfd, recv, send, sockaddr, socket,
    socklen_t
)
from .text cimport Text, text_into, text_put, text_string, text_system_error

cdef enum:
    HEALTHCHECK_MOST = 1900  # ms, so that it is over within 2 s


cdef inline bint healthcheck(const char *host, int port, Text *wrong) noexcept nogil:
    """Does the server at an address (NULL: of this host) answer a request for its page with 200, whole, in time? If
    not, the words say why."""
    cdef Address address
    cdef int64_t deadline = monotonic_ms() + HEALTHCHECK_MOST
    cdef const char *where = "127.0.0.1"
    cdef const char *request = "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: yinyang\r\nConnection: close\r\n\r\n"
    cdef char status[13]
    cdef Text answer
    cdef int fd, error
    cdef size_t i
    if host != NULL:
        where = host
    address_parse(&address, where, port)
    answer = text_into(status, sizeof(status))
    fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if fd < 0:
        error = errno
    else:
        error = exchange(fd, &address, request, &answer, deadline)
        close(fd)
    if error == 0 and answer.length > sizeof(status) and memcmp(status, "HTTP/1.1 200 ", 13) == 0:
        return True
    text_string(wrong, "no page at ")
    text_url(wrong, where, port)
    if error:
        text_string(wrong, ": ")
        text_system_error(wrong, error)
    elif answer.length == 0:
        text_string(wrong, ": the connection was closed without an answer")
    else:
        text_string(wrong, ": the answer begins with '")
        for i in range(min(answer.length, sizeof(status))):
            if name_is_printable(status + i, 1):
                text_put(wrong, status + i, 1)
            else:
                text_string(wrong, "?")
        text_string(wrong, "'")
    return False


cdef inline int exchange(int fd, const Address *address, const char *request, Text *answer,
                         int64_t deadline) noexcept nogil:
    """Connect, send the request, and read the answer to its end; 0 or errno."""
    cdef char buffer[1024]
    cdef int error = 0
    cdef socklen_t size = sizeof(error)
    cdef ssize_t received
    if connect(fd, <const sockaddr *>&address.storage, address.size) < 0 and errno != EINPROGRESS:
        return errno
    if not ready(fd, POLLOUT, deadline):
        return ETIMEDOUT
    if getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 or error:
        return error if error else errno
    if send(fd, request, strlen(request), MSG_NOSIGNAL) < 0:
        return errno
    while ready(fd, POLLIN, deadline):
        received = recv(fd, buffer, sizeof(buffer), 0)
        if received == 0:
            return 0
        if received > 0:
            text_put(answer, buffer, <size_t>received)
        elif errno != EAGAIN:
            return errno
    return ETIMEDOUT


cdef inline bint ready(int fd, short events, int64_t deadline) noexcept nogil:
    """Wait until a descriptor is ready; False if it is not in time."""
    cdef pollfd polled
    cdef int64_t left
    polled.fd = fd
    polled.events = events
    while True:
        left = deadline - monotonic_ms()
        if left <= 0:
            return False
        if poll(&polled, 1, <int>left) > 0:
            return True
