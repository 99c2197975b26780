"""`/readyz`: does this replica want more to do? Whoever balances the load asks it, and passes over who does not."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from .answers cimport fresh_begin, fresh_end
from .board cimport Board, PHASE_SERVE, board_ready
from .http1 cimport Framing
from .system cimport monotonic_ms
from .text cimport Text, text_format, text_open, text_string

cdef extern from "atomic.h" nogil:
    uint32_t get "atomic_get"(const uint32_t *place)


cdef inline bint readiness_render(Text *text, const Framing *f, bint keep, int64_t second,
                                  const Board *board) noexcept nogil:
    """The answer; is it that this replica is ready? Not while it drains, nor while a worker is stopped, dead, or keeps
    dying: connections may wait for it."""
    cdef bint drains = get(&board.phase) != PHASE_SERVE
    cdef uint32_t serving = board_ready(board, monotonic_ms())
    cdef bint ready = not drains and serving == board.workers
    cdef char bytes[64]
    cdef Text words
    text_open(&words, bytes, sizeof(bytes))
    if ready:
        text_string(&words, "ok\n")
    elif drains:
        text_string(&words, "not ready: draining\n")
    else:
        text_format(&words, "not ready: %lu of %lu workers serve\n", <uint64_t>serving, <uint64_t>board.workers)
    fresh_begin(text, f, 200 if ready else 503, second, "text/plain; charset=utf-8", &words)
    fresh_end(text, f, keep, &words)
    return ready
