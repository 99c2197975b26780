"""How many CPUs this process may use: its affinity, and the quota of its control groups (version 2 and 1).

A container that is limited to half a CPU on a host of 64 should get one worker, not 64.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp, memcpy, memset, strlen

from ..text.buffer cimport Text, number_parse, text_open, text_put, text_string
from .syscalls cimport O_CLOEXEC, O_RDONLY, close, cpu_set_t, open, read, sched_getaffinity

cdef enum:
    CPU_WORDS = 128  # of 64 CPUs each; no kernel is built for more
    FILE_MAX = 16384  # more than /proc/self/cgroup has with version 1, which is a dozen lines with a path each
    PATH_MAX = 4096
    NUMBERS_MAX = 64  # bytes of a file with one or two numbers
    QUOTA_NONE = 1 << 20  # CPUs


cdef inline int cpus_usable() noexcept nogil:
    """At least 1."""
    cdef uint64_t allowed[CPU_WORDS]  # a bit for each CPU
    cdef int count = 1
    memset(allowed, 0, sizeof(allowed))
    if sched_getaffinity(0, sizeof(allowed), <cpu_set_t *>allowed) == 0:
        count = bits_in(allowed, CPU_WORDS)
    return max(min(count, groups_cpus("/proc/self/cgroup", "/sys/fs/cgroup")), 1)


cdef inline int bits_in(uint64_t *words, int count) noexcept nogil:
    cdef int bits = 0
    cdef int i
    for i in range(count):
        while words[i]:
            words[i] &= words[i] - 1
            bits += 1
    return bits


cdef inline void file_read(const char *path, char *content, size_t room) noexcept nogil:
    """Read at most `room` - 1 bytes, and put a NUL behind them; a file that cannot be read is empty."""
    cdef int fd = open(path, O_RDONLY | O_CLOEXEC)
    content[0] = 0
    if fd >= 0:
        content[max(read(fd, content, room - 1), 0)] = 0
        close(fd)


cdef inline int groups_cpus(const char *file, const char *mounts) noexcept nogil:
    """The smallest quota of the groups that a file in the format of cgroups(7) names, in CPUs; QUOTA_NONE without any.
    Its lines are `number:controllers:path`; version 2 has number 0 and no controllers. Below `mounts` is the tree of
    version 2, or a folder for each tree of version 1, which has the name of its controllers; where they are more than
    one, a link may have the name of one of them."""
    cdef char groups[FILE_MAX]
    cdef const char *pos = groups
    cdef const char *controllers
    cdef const char *path
    cdef int cpus = QUOTA_NONE
    file_read(file, groups, FILE_MAX)
    while pos[0]:
        pos = field_end(pos)
        controllers = pos + 1 if pos[0] == b':' else pos
        path = field_end(controllers)
        pos = path
        while pos[0] and pos[0] != b'\n':
            pos += 1
        if path[0] == b':':
            if path == controllers:
                cpus = min(cpus, tree_cpus(mounts, controllers, 0, path + 1, pos))
            elif has_controller(controllers, path, "cpu"):
                cpus = min(cpus, tree_cpus(mounts, controllers, path - controllers, path + 1, pos))
                cpus = min(cpus, tree_cpus(mounts, "cpu", strlen("cpu"), path + 1, pos))
        if pos[0]:
            pos += 1
    return cpus


cdef inline const char *field_end(const char *pos) noexcept nogil:
    while pos[0] and pos[0] != b':' and pos[0] != b'\n':
        pos += 1
    return pos


cdef inline bint has_controller(const char *pos, const char *end, const char *name) noexcept nogil:
    """In a list such as `cpu,cpuacct`, in any order."""
    cdef size_t length = strlen(name)
    cdef const char *begin = pos
    while pos <= end:
        if pos == end or pos[0] == b',':
            if <size_t>(pos - begin) == length and memcmp(begin, name, length) == 0:
                return True
            begin = pos + 1
        pos += 1
    return False


cdef inline int tree_cpus(const char *mounts, const char *tree, size_t tree_length, const char *group,
                          const char *group_end) noexcept nogil:
    """The smallest quota from a group up to the root of its tree, in CPUs, rounded up; QUOTA_NONE without any."""
    cdef char path[PATH_MAX]
    cdef size_t length, root
    cdef int cpus = QUOTA_NONE
    cdef Text text
    text_open(&text, path, PATH_MAX - 32)
    text_string(&text, mounts)
    if tree_length:
        text_string(&text, "/")
        text_put(&text, tree, tree_length)
    root = min(text.length, text.room)
    text_put(&text, group, group_end - group)
    length = min(text.length, text.room)
    while True:
        cpus = min(cpus, quota_cpus(path, length))
        if length <= root:
            return cpus
        length -= 1
        while length > root and path[length] != b'/':
            length -= 1


cdef inline int quota_cpus(char *path, size_t length) noexcept nogil:
    """Of one group: `QUOTA PERIOD` in one file (version 2), or each in a file of its own (version 1). Without a limit
    the first is `max`, or -1."""
    cdef char content[NUMBERS_MAX]
    cdef const char *pos = file_of_group(path, length, "/cpu.max", content)
    cdef int64_t quota, period
    if not pos[0]:
        pos = file_of_group(path, length, "/cpu.cfs_quota_us", content)
    quota = number_parse(&pos)
    if pos[0] == b'\n':
        pos = file_of_group(path, length, "/cpu.cfs_period_us", content)
    pos += pos[0] == b' '
    period = number_parse(&pos)
    if quota <= 0 or period <= 0:
        return QUOTA_NONE
    return <int>min((quota + period - 1) // period, <int64_t>QUOTA_NONE)


cdef inline const char *file_of_group(char *path, size_t length, const char *name, char *content) noexcept nogil:
    """Read one file of a group, whose path has `length` bytes; `path` has room for a name behind them."""
    memcpy(path + length, name, strlen(name) + 1)
    file_read(path, content, NUMBERS_MAX)
    return content
