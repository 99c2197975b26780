"""The descriptors that a process keeps."""

from libc.limits cimport UINT_MAX
from libc.stdint cimport int64_t, uint64_t

from ..text.buffer cimport number_parse
from .syscalls cimport (
    F_SETFD, O_CLOEXEC, O_RDONLY, SYS_close_range, SYS_fcntl, SYS_getdents64, close, dup3, errno, open, syscall
)

cdef enum:
    STANDARD_FDS = 3

cdef extern from *:
    """
    /* What getdents64(2) returns: an entry of a folder. */
    struct folder_entry {
        uint64_t inode;
        int64_t offset;
        unsigned short size;
        unsigned char type;
        char name[];
    };
    """
    struct folder_entry:
        unsigned short size
        char *name


cdef inline bint close_all_except(const int *kept, int count) noexcept nogil:
    """Close every descriptor but the standard ones and those in `kept`; False if some may be left."""
    cdef unsigned int begin = STANDARD_FDS
    cdef unsigned int end
    while True:
        end = lowest_fd(kept, count, begin)
        if end > begin and syscall(SYS_close_range, begin, end - 1, 0) < 0:
            return close_listed_except(kept, count)
        if end == UINT_MAX:
            return True
        begin = end + 1


cdef inline bint close_range_works() noexcept nogil:
    """Whether close_range(2) can be used: Linux has it since 5.9, and the profile of a container may refuse it."""
    return syscall(SYS_close_range, UINT_MAX, UINT_MAX, 0) == 0


cdef inline unsigned int lowest_fd(const int *fds, int count, unsigned int begin) noexcept nogil:
    """The lowest of the descriptors that are at least `begin`, or UINT_MAX."""
    cdef unsigned int lowest = UINT_MAX
    cdef int i
    for i in range(count):
        if <unsigned int>fds[i] >= begin:
            lowest = min(lowest, <unsigned int>fds[i])
    return lowest


cdef inline bint close_listed_except(const int *kept, int count) noexcept nogil:
    """The same, by the list in /proc. opendir(3) is not used because it allocates memory: another thread of the program
    may have held the lock of malloc(3) when it forked this process."""
    cdef char buffer[1024]
    cdef int folder = open("/proc/self/fd", O_RDONLY | O_CLOEXEC)
    cdef const folder_entry *entry
    cdef long size = 1
    cdef long at
    cdef const char *name
    cdef int64_t fd
    if folder < 0:
        return False
    while size > 0:
        size = syscall(SYS_getdents64, folder, buffer, sizeof(buffer))
        at = 0
        while at < size:
            entry = <const folder_entry *>(buffer + at)
            at += entry.size
            name = <const char *>entry.name
            fd = number_parse(&name)  # -1: . and ..
            if fd >= STANDARD_FDS and fd != folder and lowest_fd(kept, count, <unsigned int>fd) != fd:
                close(<int>fd)
    close(folder)
    return size == 0


cdef inline int fill_standard_fds(const int *kept, int count, int fd) noexcept nogil:
    """Replace stdin, stdout and stderr, except those in `kept`, by copies of a descriptor. So no connection gets one of
    their numbers, to which a C library may write as its process ends. 0 or -errno."""
    cdef int standard
    for standard in range(STANDARD_FDS):
        if standard != fd and lowest_fd(kept, count, <unsigned int>standard) != <unsigned int>standard:
            if dup3(fd, standard, O_CLOEXEC) < 0:
                return -errno
    return 0


cdef inline void keep_when_executing(int fd) noexcept nogil:
    """fcntl(3) is not used: on 32 bits it makes a system call with another name."""
    syscall(SYS_fcntl, fd, F_SETFD, 0)
