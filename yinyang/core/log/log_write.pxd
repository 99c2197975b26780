"""Writing equal lines to the log, many in one call, without ever blocking.

For a socket, each call says that it must not block. Terminals and pipes have no such call, and O_NONBLOCK on an
inherited descriptor would apply to all processes that share it. So they are opened once more, by /proc, which gives an
open file description of their own. Where that fails, poll(2) is asked first, and only as much is written as then fits.
Such a call blocks only if another process fills that room in between.
"""

from libc.string cimport memchr, memcpy

from ..os.syscalls cimport (
    EAGAIN, EINTR, ENOTSOCK, MSG_DONTWAIT, MSG_NOSIGNAL, O_CLOEXEC, O_NOCTTY, O_NONBLOCK, O_WRONLY, POLLOUT, SEEK_CUR,
    S_ISFIFO, errno, fstat, isatty, lseek, open, poll, pollfd, send, stat, write
)
from ..text.buffer cimport Text, llu, text_format, text_open

cdef enum:
    LOG_WRITE_MAX = 64 * 1024  # bytes: for long writes, a file system does less work for each page of memory
    PIPE_WRITE_SAFE = 4096  # bytes that a pipe takes without blocking when poll(2) says that it is writable (pipe(7))
    TERMINAL_WRITE_SAFE = 128  # likewise for a terminal, if a line feed, which may become two bytes, is written alone
    PATH_MAX = 32  # bytes


cdef inline int log_reopen(int fd) noexcept nogil:
    """A new descriptor for the same terminal or pipe, with O_NONBLOCK; -1 if `fd` is neither, or if that fails."""
    cdef char path[PATH_MAX]
    cdef stat status
    cdef Text text
    if not isatty(fd) and (fstat(fd, &status) < 0 or not S_ISFIFO(status.st_mode)):
        return -1
    text_open(&text, path, PATH_MAX - 1)
    text_format(&text, "/proc/self/fd/%llu", <llu>fd)
    path[text.length] = 0
    return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)


cdef inline size_t log_room(int fd, bint is_reopened) noexcept nogil:
    """The bytes that one call may write: LOG_WRITE_MAX at most."""
    if lseek(fd, 0, SEEK_CUR) >= 0:
        return LOG_WRITE_MAX  # a file never blocks in the sense of poll(2)
    return PIPE_WRITE_SAFE if is_reopened or not isatty(fd) else TERMINAL_WRITE_SAFE


cdef inline ssize_t log_write(int fd, char *buffer, size_t room, const char *line, size_t length, size_t count,
                              size_t offset) noexcept nogil:
    """Write what fits of `count` equal lines, without the first `offset` bytes of the first line. `buffer` has `room`
    bytes, the value of log_room. Returns the bytes written; 0 if the descriptor cannot take any now; or -errno."""
    cdef pollfd pollfds
    cdef size_t size = min(length - offset, room)
    cdef const char *pos = line + offset
    cdef ssize_t written
    if count > 1 and length <= room:
        size = fill_with_copies(buffer, line, length, min(count, room // length)) - offset
        pos = buffer + offset
    if room == TERMINAL_WRITE_SAFE:
        size = size_without_line_feed(pos, size)
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


cdef inline size_t size_without_line_feed(const char *pos, size_t size) noexcept nogil:
    """The bytes before the first line feed; 1 if a line feed comes first."""
    cdef const char *end = <const char *>memchr(pos, b'\n', size)
    return size if end == NULL else max(<size_t>(end - pos), <size_t>1)


cdef inline size_t fill_with_copies(char *buffer, const char *line, size_t length, size_t count) noexcept nogil:
    """Put `count` copies of a line into the buffer, and return their size. Each memcpy doubles the copies."""
    cdef size_t size = count * length
    cdef size_t filled = length
    memcpy(buffer, line, length)
    while filled < size:
        memcpy(buffer + filled, buffer, min(filled, size - filled))
        filled += min(filled, size - filled)
    return size
