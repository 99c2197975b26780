"""`?every=2` on the page: browsers ask for it anew every two seconds, told so by the header field Refresh.

The body is that of the page. The response ends its connection, so that the next one may be another replica's. No cache
stores it, or each of these requests would be answered with the same page.
"""

from libc.stdint cimport int64_t

from ..http.parser cimport METHOD_HEAD, TARGET_KEPT
from ..http.responses cimport NO_CACHE, ROUTE_PAGE, Response, Responses, routes, variant_of
from ..text.buffer cimport Text, llu, number_parse, text_format, text_open, text_put, text_string
from .request cimport Request, request_value

cdef enum:
    EVERY_MAX = 3600  # s
    EVERY_WRONG = -1
    VALUE_MAX = 8  # bytes; a longer value is cut, and wrong either way
    REFRESH_MAX = 32  # bytes of the field


cdef inline int every_asked(const Request *request) noexcept nogil:
    """The seconds that the query asks for; 0 if it does not, EVERY_WRONG if that is no number of them, or if the target
    is not kept whole, as it might be cut in the number."""
    cdef char value[VALUE_MAX]
    cdef const char *pos = value
    cdef int64_t seconds
    if not request_value(request, "every", value, VALUE_MAX):
        return 0
    seconds = number_parse(&pos)
    if pos[0] or not 1 <= seconds <= EVERY_MAX or request.parser.target_length > TARGET_KEPT:
        return EVERY_WRONG
    return <int>seconds


cdef inline void refresh_field(char *field, int every) noexcept nogil:
    """Write the field, or nothing if `every` is 0, to `field`, which has REFRESH_MAX bytes."""
    cdef Text text
    text_open(&text, field, REFRESH_MAX - 1)
    if every > 0:
        text_format(&text, "Refresh: %llu\r\n", <llu>every)
    field[text.length] = 0


cdef inline int refresh_render(Text *text, const Request *request, const Responses *responses,
                               const char *field) noexcept nogil:
    """The prebuilt page, with this field at the end of its head."""
    cdef int number = routes[ROUTE_PAGE].response + variant_of(request.parser, False)
    cdef const Response *whole = &responses.table[number]
    cdef const Response *head = &responses.table[number + routes[ROUTE_PAGE].variants]
    cdef const char *bytes = responses.bytes + whole.start
    text_put(text, bytes, head.length - 2)  # without the empty line
    text_string(text, field)
    if not request.replica.served_by:  # else the prebuilt head has it
        text_string(text, NO_CACHE)
    text_string(text, "\r\n")
    if request.parser.method != METHOD_HEAD:
        text_put(text, bytes + head.length, whole.length - head.length)
    return 200
