"""Equal lines written to the log, many at a time, and never so that the writing blocks."""

from libc.string cimport memcpy

from .system cimport (
    EAGAIN, EINTR, ENOTSOCK, MSG_DONTWAIT, MSG_NOSIGNAL, POLLOUT, SEEK_CUR, errno, lseek, poll, pollfd, send, write
)

cdef enum:
    LINES_AT_ONCE = 16 * 1024  # bytes
    LINES_SAFE = 4096  # bytes that a pipe takes without blocking when poll(2) says that it is writable (pipe(7))


cdef inline ssize_t lines_write(int fd, const char *line, size_t length, size_t count, size_t offset) noexcept nogil:
    """Write what fits of `count` equal lines, less the first `offset` bytes of the first. Bytes written; 0 if the
    descriptor cannot take any now; -errno."""
    cdef char buffer[LINES_AT_ONCE]
    cdef pollfd polled
    cdef size_t room = LINES_SAFE
    cdef size_t filled = 0
    cdef size_t piece
    cdef ssize_t written
    if lseek(fd, 0, SEEK_CUR) >= 0:
        room = LINES_AT_ONCE  # it is a file, which never blocks in the sense of poll(2)
    while count and filled < room:
        piece = min(length - offset, room - filled)
        memcpy(buffer + filled, line + offset, piece)
        filled += piece
        offset = 0
        count -= 1
    written = send(fd, buffer, filled, MSG_DONTWAIT | MSG_NOSIGNAL)
    if written < 0 and errno == ENOTSOCK:
        polled.fd = fd
        polled.events = POLLOUT
        if poll(&polled, 1, 0) <= 0:
            return 0
        written = write(fd, buffer, filled)
    if written < 0:
        return 0 if errno == EAGAIN or errno == EINTR else -errno
    return written
