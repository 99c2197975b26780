"""The number of connections that the limit of descriptors and the memory of the control groups allow."""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t

from .control_groups cimport NUMBERS_MAX, file_of_group, groups_limit
from .syscalls cimport F_GETFD, RLIMIT_NOFILE, SYS_fcntl, getrlimit, rlimit, setrlimit, syscall
from ..text.buffer cimport number_parse

cdef enum:
    OTHER_DESCRIPTORS = 16  # of a worker: 7 that it needs, one that accept4(2) always needs free, some spare ones
    CONNECTION_MEMORY = 16 * 1024  # bytes: an idle connection takes 2,000, one that reads nothing up to 300,000
    CONNECTIONS_USUAL = 1 << 16  # the default is at most this; --max-connections may ask for more


cdef inline int64_t descriptors_for_connections() noexcept nogil:
    """The descriptors that one worker can use for connections; at least 1."""
    cdef rlimit limit
    if getrlimit(RLIMIT_NOFILE, &limit) < 0 or limit.rlim_cur > <int64_t>1 << 30:
        return <int64_t>1 << 30
    return max(<int64_t>limit.rlim_cur - OTHER_DESCRIPTORS, <int64_t>1)


cdef inline int descriptors_reserve(int wanted, uint64_t *limit_of_all) noexcept nogil:
    """How many of so many further descriptors this process can have, with the limit raised as far as it may be."""
    cdef rlimit limit
    cdef int count = 0
    cdef int fd = 0
    limit_of_all[0] = 0
    if getrlimit(RLIMIT_NOFILE, &limit) < 0:
        return wanted
    if limit.rlim_cur < limit.rlim_max:
        limit.rlim_cur = limit.rlim_max
        setrlimit(RLIMIT_NOFILE, &limit)
        getrlimit(RLIMIT_NOFILE, &limit)
    limit_of_all[0] = limit.rlim_cur
    while count < wanted and <uint64_t>fd < limit.rlim_cur:
        count += syscall(SYS_fcntl, fd, F_GETFD) < 0
        fd += 1
    return count


cdef inline int connections_affordable(int workers) noexcept nogil:
    """The connections that all workers together can have; at least 1."""
    cdef int64_t memory = groups_limit("memory", memory_of_group)
    cdef int64_t count = min(descriptors_for_connections() * workers, memory // CONNECTION_MEMORY)
    return <int>max(min(count, <int64_t>CONNECTIONS_USUAL), <int64_t>1)


cdef inline int64_t memory_of_group(char *path, size_t length) noexcept nogil:
    """The limit in bytes. Without a limit the file has `max` (version 2), or a huge number."""
    cdef char content[NUMBERS_MAX]
    cdef const char *pos = file_of_group(path, length, "/memory.max", content)
    cdef int64_t limit
    if not pos[0]:
        pos = file_of_group(path, length, "/memory.limit_in_bytes", content)
    limit = number_parse(&pos)
    return limit if limit >= 0 else INT64_MAX
