"""The number of CPUs that this process may use, by its affinity and the quota of its control groups.

A container that is limited to half a CPU on a host of 64 should get one worker, not 64.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.string cimport memset

from ..text.buffer cimport number_parse
from .control_groups cimport NUMBERS_MAX, file_of_group, groups_limit
from .syscalls cimport cpu_set_t, sched_getaffinity

cdef enum:
    CPU_WORDS = 128  # of 64 CPUs each; no kernel is built for more


cdef inline int cpus_usable() noexcept nogil:
    """The CPUs that this process may use; at least 1."""
    cdef uint64_t allowed[CPU_WORDS]  # a bit for each CPU
    cdef int count = 1
    memset(allowed, 0, sizeof(allowed))
    if sched_getaffinity(0, sizeof(allowed), <cpu_set_t *>allowed) == 0:
        count = bits_in(allowed, CPU_WORDS)
    return <int>max(min(<int64_t>count, groups_limit("cpu", quota_of_group)), <int64_t>1)


cdef inline int bits_in(uint64_t *words, int count) noexcept nogil:
    cdef int bits = 0
    cdef int i
    for i in range(count):
        while words[i]:
            words[i] &= words[i] - 1
            bits += 1
    return bits


cdef inline int64_t quota_of_group(char *path, size_t length) noexcept nogil:
    """The quota in CPUs, rounded up. Version 2 has `QUOTA PERIOD` in one file, version 1 each in a file of its own.
    Without a limit QUOTA is `max`, or -1."""
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
        return INT64_MAX
    return (quota - 1) // period + 1
