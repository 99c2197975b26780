"""`/readyz`: whether this replica should get new connections. Load balancers pass over a replica that is not ready."""

from libc.stdint cimport int64_t, uint32_t

from ..os.syscalls cimport monotonic_ms
from ..shared.scoreboard cimport PHASE_SERVING, scoreboard_is_unready, scoreboard_phase, scoreboard_ready_workers
from ..text.buffer cimport Text, llu, text_format, text_open, text_string
from .request cimport Request, response_begin, response_end


cdef inline int readyz_render(Text *text, const Request *request) noexcept nogil:
    """503 while it drains, was told not to be ready, has just started and is to be ready later, or while a worker is
    stopped, dead, or keeps dying: connections may wait for that worker."""
    cdef bint drains = scoreboard_phase(request.scoreboard) != PHASE_SERVING
    cdef int64_t now = monotonic_ms()
    cdef uint32_t serving = scoreboard_ready_workers(request.scoreboard, now)
    cdef uint32_t workers = request.scoreboard.workers
    cdef bint unready = scoreboard_is_unready(request.scoreboard)
    cdef bint early = now < request.scoreboard.notice.ready_at
    cdef int code = 503 if drains or unready or early or serving != workers else 200
    cdef char bytes[64]
    cdef Text body
    text_open(&body, bytes, sizeof(bytes))
    if drains:
        text_string(&body, "not ready: draining\n")
    elif unready:
        text_string(&body, "not ready: told so by SIGUSR1 or /readyz/disable\n")
    elif early:
        text_format(&body, "not ready: %llu s to go (--ready-after)\n",
                    <llu>((request.scoreboard.notice.ready_at - now + 999) // 1000))
    elif serving != workers:
        text_format(&body, "not ready: %llu of %llu workers serve\n", <llu>serving, <llu>workers)
    else:
        text_string(&body, "ok\n")
    response_begin(text, request, code, "text/plain; charset=utf-8", &body)
    response_end(text, request, &body)
    return code
