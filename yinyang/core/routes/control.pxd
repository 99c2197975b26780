"""`POST /readyz/disable` and `/readyz/enable`: a client makes the replica unready, or ready again."""

from ..http.parser cimport METHOD_POST
from ..text.buffer cimport Text
from .request cimport Request
from .status cimport words_render


cdef inline int control_render(Text *text, const Request *request, bint ready) noexcept nogil:
    """202 if the parent is to be told, which client_respond does; else what is wrong."""
    if request.parser.method != METHOD_POST:
        return words_render(text, request, 405, "this changes the replica, so it wants POST", "Allow: POST\r\n")
    if not request.replica.control:
        return words_render(text, request, 403, "to allow this, start with --control or YINYANG_CONTROL=on", "")
    if ready:
        return words_render(text, request, 202, "this replica is told to be ready again", "")
    return words_render(text, request, 202, "this replica is told not to be ready", "")
