"""The parser by itself, for instructions.py: bytes are fed to it as the worker does."""

from libc.stdint cimport uint8_t
from libc.string cimport memset

from yinyang.core.http.parser cimport (
    OUTCOME_MORE, OUTCOME_READY, Parser, TARGET_KEPT, Target, parser_feed, parser_next, target_keep
)


cdef public long replay(const uint8_t *data, size_t size, long times) noexcept nogil:
    """Feed the same segment so many times, each time as far as it is valid; the number of requests that ended."""
    cdef Parser f
    cdef Target target
    cdef uint8_t kept[TARGET_KEPT]
    cdef const uint8_t *pos
    cdef long found = 0
    cdef int outcome
    memset(&f, 0, sizeof(f))
    while times > 0:
        times -= 1
        pos = data
        outcome = OUTCOME_READY
        while outcome == OUTCOME_READY:
            outcome = parser_feed(&f, &pos, data + size, &target)
            target_keep(&f, &target, kept)
            if outcome != OUTCOME_MORE:
                found += 1
                parser_next(&f)
    return found
