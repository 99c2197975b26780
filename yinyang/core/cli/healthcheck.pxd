"""The client of --healthcheck: an orchestrator runs it in a container that holds no other program."""

from libc.stdint cimport int64_t
from libc.string cimport memcmp, strlen

from ..os.address cimport Address, address_parse, text_url
from ..os.syscalls cimport (
    EAGAIN, EINPROGRESS, ETIMEDOUT, MSG_NOSIGNAL, SOCK_CLOEXEC, SOCK_STREAM, SOL_SOCKET, SO_RCVTIMEO, SO_SNDTIMEO,
    close, connect, errno, monotonic_ms, recv, send, setsockopt, sockaddr, socket, timeval
)
from ..text.buffer cimport Text, text_open, text_printable, text_put, text_string, text_system_error

cdef enum:  # ms; both together end within 2 s
    DEADLINE = 1000  # no call begins later
    CALL_TIMEOUT = 900  # of one call


cdef inline bint healthcheck(const char *host, int port, Text *message) noexcept nogil:
    """Does the server at an address (NULL: on this host) send a whole response with 200 in time? If not, the message
    says why. It requests /livez, which is not logged; with --plain that is the page, like every path."""
    cdef Address address
    cdef const char *where = "127.0.0.1"
    cdef const char *request = ("GET /livez HTTP/1.1\r\nHost: localhost\r\nUser-Agent: yinyang\r\n"
                                "Connection: close\r\n\r\n")
    cdef char status[13]
    cdef Text response
    cdef int fd, error
    if host != NULL:
        where = host
    address_parse(&address, where, port)
    text_open(&response, status, sizeof(status))
    fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)
    if fd < 0:
        error = errno
    else:
        error = exchange(fd, &address, request, &response)
        close(fd)
    if error == 0 and response.length > sizeof(status) and memcmp(status, "HTTP/1.1 200 ", 13) == 0:
        return True
    text_string(message, "no healthy server at ")
    text_url(message, where, port)
    if error:
        text_string(message, ": ")
        text_system_error(message, error)
    elif response.length == 0:
        text_string(message, ": the connection was closed without an answer")
    else:
        text_string(message, ": the answer begins with '")
        text_printable(message, status, min(response.length, sizeof(status)))
        text_string(message, "'")
    return False


cdef inline int exchange(int fd, const Address *address, const char *request, Text *response) noexcept nogil:
    """Connect, send the request, and read the response to its end; 0 or errno."""
    cdef char buffer[1024]
    cdef int64_t deadline = monotonic_ms() + DEADLINE
    cdef timeval timeout
    cdef ssize_t received
    timeout.tv_sec = 0
    timeout.tv_usec = CALL_TIMEOUT * 1000
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout))
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout))
    if (connect(fd, <const sockaddr *>&address.storage, address.size) == 0
            and send(fd, request, strlen(request), MSG_NOSIGNAL) > 0):
        while monotonic_ms() < deadline:
            received = recv(fd, buffer, sizeof(buffer), 0)
            if received == 0:
                return 0
            if received < 0:
                break
            text_put(response, buffer, <size_t>received)
        else:
            return ETIMEDOUT
    # these two mean that a call timed out
    return ETIMEDOUT if errno == EAGAIN or errno == EINPROGRESS else errno
