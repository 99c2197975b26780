"""Limits of the control groups that this process belongs to (version 2 and 1)."""

from libc.stdint cimport INT64_MAX, int64_t
from libc.string cimport memcmp, memcpy, strlen

from ..text.buffer cimport Text, text_open, text_put, text_string
from .syscalls cimport O_CLOEXEC, O_RDONLY, close, open, read

cdef enum:
    FILE_MAX = 16384  # more than /proc/self/cgroup has: with version 1, a dozen lines with a path each
    PATH_MAX = 4096
    NUMBERS_MAX = 64  # bytes; the files have one or two numbers

# The limit of the group with this path; INT64_MAX without a limit. A file name may be appended to the path.
ctypedef int64_t (*GroupLimit)(char *path, size_t length) noexcept nogil


cdef inline void file_read(const char *path, char *content, size_t room) noexcept nogil:
    """Read at most `room` - 1 bytes, and append a NUL; a file that cannot be read counts as empty."""
    cdef int fd = open(path, O_RDONLY | O_CLOEXEC)
    content[0] = 0
    if fd >= 0:
        content[max(read(fd, content, room - 1), 0)] = 0
        close(fd)


cdef inline int64_t groups_limit(const char *controller, GroupLimit limit_of) noexcept nogil:
    """The lowest limit of this process's groups and their ancestors. The lines of /proc/self/cgroup are
    `number:controllers:path` (cgroups(7)); version 2 has number 0 and no controllers. /sys/fs/cgroup has the tree of
    version 2, or a folder for each tree of version 1. Such a folder is named after its controllers; if there are
    several, a link may be named after one of them."""
    cdef char groups[FILE_MAX]
    cdef const char *pos = groups
    cdef const char *controllers
    cdef const char *path
    cdef int64_t lowest = INT64_MAX
    file_read("/proc/self/cgroup", groups, FILE_MAX)
    while pos[0]:
        pos = field_end(pos)
        controllers = pos + 1 if pos[0] == b':' else pos
        path = field_end(controllers)
        pos = path
        while pos[0] and pos[0] != b'\n':
            pos += 1
        if path[0] == b':':
            if path == controllers:
                lowest = min(lowest, tree_limit(controllers, 0, path + 1, pos, limit_of))
            elif has_controller(controllers, path, controller):
                lowest = min(lowest, tree_limit(controllers, path - controllers, path + 1, pos, limit_of))
                lowest = min(lowest, tree_limit(controller, strlen(controller), path + 1, pos, limit_of))
        if pos[0]:
            pos += 1
    return lowest


cdef inline const char *field_end(const char *pos) noexcept nogil:
    while pos[0] and pos[0] != b':' and pos[0] != b'\n':
        pos += 1
    return pos


cdef inline bint has_controller(const char *pos, const char *end, const char *name) noexcept nogil:
    """Whether a list such as `cpu,cpuacct` has the controller, in any place."""
    cdef size_t length = strlen(name)
    cdef const char *begin = pos
    while pos <= end:
        if pos == end or pos[0] == b',':
            if <size_t>(pos - begin) == length and memcmp(begin, name, length) == 0:
                return True
            begin = pos + 1
        pos += 1
    return False


cdef inline int64_t tree_limit(const char *tree, size_t tree_length, const char *group, const char *group_end,
                               GroupLimit limit_of) noexcept nogil:
    """The lowest limit from a group up to the root of its tree."""
    cdef char path[PATH_MAX]
    cdef size_t length, root
    cdef int64_t lowest = INT64_MAX
    cdef Text text
    text_open(&text, path, PATH_MAX - 32)
    text_string(&text, "/sys/fs/cgroup")
    if tree_length:
        text_string(&text, "/")
        text_put(&text, tree, tree_length)
    root = min(text.length, text.room)
    text_put(&text, group, group_end - group)
    length = min(text.length, text.room)
    while True:
        lowest = min(lowest, limit_of(path, length))
        if length <= root:
            return lowest
        length -= 1
        while length > root and path[length] != b'/':
            length -= 1


cdef inline const char *file_of_group(char *path, size_t length, const char *name, char *content) noexcept nogil:
    """Read one file of a group, whose path has `length` bytes; `path` has room to append a name."""
    memcpy(path + length, name, strlen(name) + 1)
    file_read(path, content, NUMBERS_MAX)
    return content
