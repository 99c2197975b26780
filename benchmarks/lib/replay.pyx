"""The parser by itself, for instructions.py: bytes are fed to it as the worker does."""

from libc.stdint cimport uint8_t
from libc.string cimport memset

from yinyang.core.http.parser cimport (
    OUTCOME_ERROR, OUTCOME_READY, OUTCOME_TARGET, Parser, Target, parser_feed, parser_next, target_begin

)


cdef public long replay(const uint8_t *data, size_t size, long times) noexcept nogil:
    """Feed the same segment many times, each time as far as it is valid; the number of requests that ended in it."""
    cdef Parser parser
    cdef Target target
    cdef const uint8_t *pos
    cdef long found = 0
    cdef int outcome
    memset(&parser, 0, sizeof(parser))
    while times > 0:
        times -= 1
        pos = data
        outcome = OUTCOME_READY
        target_begin(&parser, &target)
        while outcome == OUTCOME_READY or outcome == OUTCOME_TARGET:
            outcome = parser_feed(&parser, &pos, data + size, &target)
            if outcome == OUTCOME_READY or outcome == OUTCOME_ERROR:
                found += 1
                parser_next(&parser)
    return found
