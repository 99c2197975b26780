"""How many CPUs this process may use: its affinity, and the quota of its control groups (version 2 and 1).

A container that is limited to half a CPU on a host of 64 should get one worker, not 64.
"""

from libc.stdint cimport int64_t
from libc.string cimport memcpy, strlen, strncmp

from .system cimport (
    CPU_COUNT, O_CLOEXEC, O_RDONLY, close, cpu_set_t, open, read, sched_getaffinity
)
from .text cimport Text, number_parse, text_into, text_put, text_string

cdef enum:
    FILE_MOST = 4096
    PATH_MOST = 1024


cdef inline int cpus_usable() noexcept nogil:
    """At least 1."""
    cdef cpu_set_t set
    cdef int count = 1
    cdef char groups[FILE_MOST]
    cdef ssize_t size
    if sched_getaffinity(0, sizeof(set), &set) == 0:
        count = CPU_COUNT(&set)
    size = file_read("/proc/self/cgroup", groups)
    if size > 0:
        count = min(count, group_cpus(groups, "0::", "/sys/fs/cgroup", True))
        count = min(count, group_cpus(groups, "cpu,cpuacct:", "/sys/fs/cgroup/cpu", False))
    return max(count, 1)


cdef inline ssize_t file_read(const char *path, char *content) noexcept nogil:
    """At most FILE_MOST - 1 bytes and a NUL; their count, or -1."""
    cdef int fd = open(path, O_RDONLY | O_CLOEXEC)
    cdef ssize_t size
    if fd < 0:
        return -1
    size = read(fd, content, FILE_MOST - 1)
    close(fd)
    content[max(size, 0)] = 0
    return size


cdef inline int group_cpus(const char *groups, const char *label, const char *mount, bint unified) noexcept nogil:
    """The smallest quota from this process's group up to the root, in CPUs, rounded up; a big number without any."""
    cdef char path[PATH_MOST]
    cdef const char *group = group_path(groups, label)
    cdef size_t length = 0
    cdef size_t root = strlen(mount)
    cdef int least = 1 << 20
    cdef Text text = text_into(path, PATH_MOST - 32)
    if group == NULL:
        return least
    while group[length] and group[length] != b'\n':
        length += 1
    text_string(&text, mount)
    text_put(&text, group, length)
    length = min(text.length, text.room)
    while True:
        least = min(least, quota_v2(path, length) if unified else quota_v1(path, length))
        if length <= root:
            return least
        length -= 1
        while length > root and path[length] != b'/':
            length -= 1


cdef inline const char *group_path(const char *groups, const char *label) noexcept nogil:
    """In the lines `number:controllers:path` of cgroups(7), the path behind a label; NULL if there is none."""
    cdef size_t length = strlen(label)
    cdef const char *line = groups
    cdef const char *at
    while line != NULL and line[0]:
        at = line
        while at[0] and at[0] != b'\n':
            if strncmp(at, label, length) == 0:
                return at + length
            at += 1
        line = at + 1 if at[0] else NULL
    return NULL


cdef inline int quota_cpus(int64_t quota, int64_t period) noexcept nogil:
    if quota <= 0 or period <= 0:
        return 1 << 20
    return <int>min((quota + period - 1) // period, 1 << 20)


cdef inline int quota_v2(char *path, size_t length) noexcept nogil:
    """cpu.max: `QUOTA PERIOD`, or `max PERIOD`."""
    cdef char content[FILE_MOST]
    cdef const char *at = content
    cdef int64_t quota
    memcpy(path + length, "/cpu.max", 9)
    if file_read(path, content) <= 0:
        return 1 << 20
    quota = number_parse(&at)
    if at[0] == b' ':
        at += 1
    return quota_cpus(quota, number_parse(&at))


cdef inline int quota_v1(char *path, size_t length) noexcept nogil:
    """cpu.cfs_quota_us, -1 without a limit, and cpu.cfs_period_us."""
    cdef char content[FILE_MOST]
    cdef const char *at = content
    cdef int64_t quota
    memcpy(path + length, "/cpu.cfs_quota_us", 18)
    if file_read(path, content) <= 0:
        return 1 << 20
    quota = number_parse(&at)
    memcpy(path + length, "/cpu.cfs_period_us", 19)
    if file_read(path, content) <= 0:
        return 1 << 20
    at = content
    return quota_cpus(quota, number_parse(&at))
