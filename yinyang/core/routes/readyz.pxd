"""`/readyz`: whether this replica should get new connections. Load balancers pass over a replica that is not ready."""

from libc.stdint cimport uint32_t

from ..os.syscalls cimport monotonic_ms
from ..shared.scoreboard cimport PHASE_SERVING, scoreboard_phase, scoreboard_ready_workers
from ..text.buffer cimport Text, llu, text_format, text_open, text_string
from .request cimport Request, response_begin, response_end


cdef inline int readyz_render(Text *text, const Request *request) noexcept nogil:
    """503 while it drains, or while a worker is stopped, dead, or keeps dying: connections may wait for that worker."""
    cdef bint drains = scoreboard_phase(request.scoreboard) != PHASE_SERVING
    cdef uint32_t serving = scoreboard_ready_workers(request.scoreboard, monotonic_ms())
    cdef uint32_t workers = request.scoreboard.workers
    cdef int code = 503 if drains or serving != workers else 200
    cdef char bytes[64]
    cdef Text body
    text_open(&body, bytes, sizeof(bytes))
    if drains:
        text_string(&body, "not ready: draining\n")
    elif serving != workers:
        text_format(&body, "not ready: %llu of %llu workers serve\n", <llu>serving, <llu>workers)
    else:
        text_string(&body, "ok\n")
    response_begin(text, request, code, "text/plain; charset=utf-8", &body)
    response_end(text, request, &body)
    return code
