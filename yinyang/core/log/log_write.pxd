"""Equal lines written to the log, many in one call, and never in a way that blocks."""

from libc.string cimport memcpy

from ..os.syscalls cimport (
    EAGAIN, EINTR, ENOTSOCK, MSG_DONTWAIT, MSG_NOSIGNAL, POLLOUT, SEEK_CUR, errno, lseek, poll, pollfd, send, write
)

cdef enum:
    LOG_WRITE_MAX = 64 * 1024  # bytes: a file system does less work per page of memory for a long write
    PIPE_WRITE_SAFE = 4096  # bytes that a pipe takes without blocking when poll(2) says that it is writable (pipe(7))


cdef inline ssize_t log_write(int fd, const char *line, size_t length, size_t count, size_t offset) noexcept nogil:
    """Write what fits of `count` equal lines, less the first `offset` bytes of the first. Bytes written; 0 if the
    descriptor cannot take any now; -errno."""
    cdef char buffer[LOG_WRITE_MAX]
    cdef pollfd pollfds
    cdef size_t room = PIPE_WRITE_SAFE
    cdef size_t size
    cdef const char *pos = line + offset
    cdef ssize_t written
    if lseek(fd, 0, SEEK_CUR) >= 0:
        room = LOG_WRITE_MAX  # it is a file, which never blocks in the sense of poll(2)
    size = min(length - offset, room)
    if count > 1 and length <= room:
        size = fill_with_copies(buffer, line, length, min(count, room // length)) - offset
        pos = buffer + offset
    written = send(fd, pos, size, MSG_DONTWAIT | MSG_NOSIGNAL)
    if written < 0 and errno == ENOTSOCK:
        pollfds.fd = fd
        pollfds.events = POLLOUT
        if poll(&pollfds, 1, 0) <= 0:
            return 0
        written = write(fd, pos, size)
    if written < 0:
        return 0 if errno == EAGAIN or errno == EINTR else -errno
    return written


cdef inline size_t fill_with_copies(char *buffer, const char *line, size_t length, size_t count) noexcept nogil:
    """Put `count` copies of a line into the buffer; their size. Each memcpy doubles what is there."""
    cdef size_t size = count * length
    cdef size_t filled = length
    memcpy(buffer, line, length)
    while filled < size:
        memcpy(buffer + filled, buffer, min(filled, size - filled))
        filled += min(filled, size - filled)
    return size
