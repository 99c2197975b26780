"""`/readyz`: does this replica want more to do? Whoever balances the load asks it, and passes over who does not."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from ..http.parser cimport Parser
from ..http.responses cimport response_begin, response_end
from ..os.atomic cimport atomic_get_u32
from ..os.syscalls cimport monotonic_ms
from ..shared.scoreboard cimport PHASE_SERVING, Scoreboard, scoreboard_ready_workers
from ..text.buffer cimport Text, llu, text_format, text_open, text_string


cdef inline bint readiness_render(Text *text, const Parser *f, bint keep_alive, int64_t second,
                                  const Scoreboard *scoreboard) noexcept nogil:
    """The answer; is it that this replica is ready? Not while it drains, nor while a worker is stopped, dead, or keeps
    dying: connections may wait for it."""
    cdef bint drains = atomic_get_u32(&scoreboard.phase) != PHASE_SERVING
    cdef uint32_t serving = scoreboard_ready_workers(scoreboard, monotonic_ms())
    cdef bint ready = not drains and serving == scoreboard.workers
    cdef char bytes[64]
    cdef Text words
    text_open(&words, bytes, sizeof(bytes))
    if ready:
        text_string(&words, "ok\n")
    elif drains:
        text_string(&words, "not ready: draining\n")
    else:
        text_format(&words, "not ready: %llu of %llu workers serve\n", <llu>serving, <llu>scoreboard.workers)
    response_begin(text, f, 200 if ready else 503, second, "text/plain; charset=utf-8", &words)
    response_end(text, f, keep_alive, &words)
    return ready
