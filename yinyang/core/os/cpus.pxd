"""How many CPUs this process may use: its affinity, and the quota of its control groups (version 2 and 1).

A container that is limited to half a CPU on a host of 64 should get one worker, not 64.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset, strlen, strncmp

from ..text.buffer cimport Text, number_parse, text_open, text_put, text_string
from .syscalls cimport O_CLOEXEC, O_RDONLY, close, cpu_set_t, open, read, sched_getaffinity

cdef enum:
    CPU_WORDS = 128  # of 64 CPUs each; no kernel is built for more
    FILE_MAX = 4096
    PATH_MAX = 1024
    QUOTA_NONE = 1 << 20  # CPUs

ctypedef int64_t (*GroupLimit)(char *path, size_t length) noexcept nogil  # of the group with this path


cdef inline int cpus_usable() noexcept nogil:
    """At least 1."""
    cdef uint64_t allowed[CPU_WORDS]  # a bit for each CPU
    cdef int count = 1
    cdef char groups[FILE_MAX]
    memset(allowed, 0, sizeof(allowed))
    if sched_getaffinity(0, sizeof(allowed), <cpu_set_t *>allowed) == 0:
        count = bits_in(allowed, CPU_WORDS)
    file_read("/proc/self/cgroup", groups)
    count = <int>min(<int64_t>count, group_lowest(groups, "0::", "/sys/fs/cgroup", quota_cpus, QUOTA_NONE))
    count = <int>min(<int64_t>count,
                     group_lowest(groups, "cpu,cpuacct:", "/sys/fs/cgroup/cpu", quota_cpus, QUOTA_NONE))
    return max(count, 1)


cdef inline int bits_in(uint64_t *words, int count) noexcept nogil:
    cdef int bits = 0
    cdef int i
    for i in range(count):
        while words[i]:
            words[i] &= words[i] - 1
            bits += 1
    return bits


cdef inline void file_read(const char *path, char *content) noexcept nogil:
    """Read at most FILE_MAX - 1 bytes, and put a NUL behind them; a file that cannot be read is empty."""
    cdef int fd = open(path, O_RDONLY | O_CLOEXEC)
    content[0] = 0
    if fd >= 0:
        content[max(read(fd, content, FILE_MAX - 1), 0)] = 0
        close(fd)


cdef inline int64_t group_lowest(const char *groups, const char *label, const char *mount, GroupLimit limit,
                                 int64_t lowest) noexcept nogil:
    """The lowest limit from this process's group up to the root, or `lowest`."""
    cdef char path[PATH_MAX]
    cdef const char *group = group_path(groups, label)
    cdef size_t length = 0
    cdef size_t root = strlen(mount)
    cdef Text text
    if group == NULL:
        return lowest
    while group[length] and group[length] != b'\n':
        length += 1
    text_open(&text, path, PATH_MAX - 32)
    text_string(&text, mount)
    text_put(&text, group, length)
    length = min(text.length, text.room)
    while True:
        lowest = min(lowest, limit(path, length))
        if length <= root:
            return lowest
        length -= 1
        while length > root and path[length] != b'/':
            length -= 1


cdef inline const char *group_path(const char *groups, const char *label) noexcept nogil:
    """In the lines `number:controllers:path` of cgroups(7), the path behind a label; NULL if there is none."""
    cdef size_t length = strlen(label)
    cdef const char *pos = groups
    cdef bint path = False  # in a path, which may contain the text of a label
    while pos[0]:
        if not path and strncmp(pos, label, length) == 0:
            return pos + length
        if pos[0] == b'/':
            path = True
        elif pos[0] == b'\n':
            path = False
        pos += 1
    return NULL


cdef inline int64_t quota_cpus(char *path, size_t length) noexcept nogil:
    """CPUs, rounded up, of one group: `QUOTA PERIOD` in one file (version 2), or each in a file of its own (version 1).
    Without a limit the first is `max`, or -1."""
    cdef char content[FILE_MAX]
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
    return min((quota + period - 1) // period, <int64_t>QUOTA_NONE)


cdef inline const char *file_of_group(char *path, size_t length, const char *name, char *content) noexcept nogil:
    """Read one file of a group, whose path has `length` bytes; `path` has room for a name behind them."""
    memcpy(path + length, name, strlen(name) + 1)
    file_read(path, content)
    return content
