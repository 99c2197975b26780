"""`/delay/{time}` and `/burn/{time}`: the answer of `/whoami`, later, or after that much CPU time of the worker.

They are answered when that time is over (worker/delays.pxd); here is what is said then.
"""

from ..http.responses cimport ROUTE_DELAY
from ..text.buffer cimport Text
from .faults cimport time_in_path
from .request cimport Request
from .status cimport FAULTS_ARE_OFF, words_render
from .whoami cimport whoami_render

cdef extern from "option_table.h" nogil:
    enum:
        LATENCY_MAX
        BURN_MAX


cdef inline int late_render(Text *text, const Request *request, int route) noexcept nogil:
    if not request.replica.faults_on_request:
        return words_render(text, request, 403, FAULTS_ARE_OFF, "")
    if time_in_path(request, LATENCY_MAX if route == ROUTE_DELAY else BURN_MAX) >= 0:
        return whoami_render(text, request)
    if route == ROUTE_DELAY:
        return words_render(text, request, 400,
                            "a time from 0 to 10 s follows /delay/, such as /delay/0.3 or /delay/300ms", "")
    return words_render(text, request, 400, "a CPU time from 0 to 1 s follows /burn/, such as /burn/0.3 or /burn/20ms",
                        "")
