"""Times as people write them: `10`, `0.3`, `10s`, `300ms`, and spans of time such as `100ms..500ms`."""

from libc.stdint cimport int64_t
from libc.string cimport strlen, strncmp

from .buffer cimport number_parse

cdef enum:
    MS_PER_SECOND = 1000


cdef inline int64_t duration_parse(const char **pos) noexcept nogil:
    """The ms of the time at *pos, which moves past it; -1 if there is none. Without a unit, it is in seconds. Parts of
    a ms are not counted."""
    cdef int64_t whole = number_parse(pos)
    cdef int64_t part = 0
    cdef int64_t worth = MS_PER_SECOND // 10
    if whole < 0:
        return -1
    if pos[0][0] == b'.' and 48 <= pos[0][1] <= 57:
        pos[0] += 1
        while 48 <= pos[0][0] <= 57:
            part += (pos[0][0] - 48) * worth
            worth //= 10
            pos[0] += 1
    if strncmp(pos[0], "ms", 2) == 0:
        pos[0] += strlen("ms")
        return whole
    pos[0] += pos[0][0] == b's'
    return whole * MS_PER_SECOND + part


cdef inline bint span_parse(const char *value, int most, int *low, int *high) noexcept nogil:
    """A time, or two with `..` between them, of at most `most` ms; False if the value is neither."""
    cdef int64_t first = duration_parse(&value)
    cdef int64_t last = first
    if value[0] == b'.' and value[1] == b'.':
        value += strlen("..")
        last = duration_parse(&value)
    if value[0] or not 0 <= first <= last or last > most:
        return False
    low[0] = <int>first
    high[0] = <int>last
    return True
