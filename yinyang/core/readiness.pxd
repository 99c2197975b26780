"""`/readyz`: does this replica want more to do? Whoever balances the load asks it, and passes over who does not."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from .answers cimport fresh_begin, fresh_end
from .board cimport Board, PHASE_SERVE, board_ready
from .http1 cimport Framing
from .system cimport monotonic_ms
from .text cimport Text, text_format, text_open, text_string

cdef extern from "atomic.h" nogil:
    uint32_t get "atomic_get"(const uint32_t *place)


cdef inline bint is_ready(const Board *board) noexcept nogil:
    """Not while it drains, nor while a worker is stopped, dead, or keeps dying: connections may wait for it."""
    return get(&board.phase) == PHASE_SERVE and board_ready(board, monotonic_ms()) == board.workers


cdef inline void readiness_words(Text *text, const Board *board, bint ready) noexcept nogil:
    if ready:
        text_string(text, "ok\n")
    elif get(&board.phase) != PHASE_SERVE:
        text_string(text, "not ready: draining\n")
    else:
        text_format(text, "not ready: %lu of %lu workers serve\n", <uint64_t>board_ready(board, monotonic_ms()),
                    <uint64_t>board.workers)


cdef inline void readiness_render(Text *text, const Framing *f, bint keep, int64_t second, const Board *board,
                                  bint ready) noexcept nogil:
    cdef char bytes[64]
    cdef Text words
    text_open(&words, bytes, sizeof(bytes))
    readiness_words(&words, board, ready)
    fresh_begin(text, f, keep, 200 if ready else 503, second, "text/plain; charset=utf-8", &words)
    fresh_end(text, f, keep, &words)
