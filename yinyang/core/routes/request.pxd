"""The request as a renderer sees it, and the head and end of a rendered response."""

from libc.stdint cimport int64_t, uint32_t, uint8_t
from libc.string cimport memcmp, strlen

from ..http.parser cimport METHOD_HEAD, Parser, target_kept
from ..http.responses cimport head_end, status_of, statuses, variant_of
from ..identity.replica cimport Replica
from ..shared.scoreboard cimport Scoreboard
from ..text.buffer cimport Text, llu, text_fits, text_format, text_put
from ..text.calendar cimport HTTP_DATE_LENGTH, http_date_render

cdef extern from "routes.h" nogil:
    const char *NOT_STORED
    const char *NO_RESOURCES

cdef struct Request:
    const Parser *parser
    const uint8_t *target  # its first TARGET_KEPT bytes
    const Replica *replica
    const Scoreboard *scoreboard
    int64_t second  # of its response
    uint32_t number  # on its connection, from 1 on
    bint keep_alive


cdef inline bint request_asks(const Request *request, const char *parameter) noexcept nogil:
    """Whether the query has this parameter; parameters are separated by &. Only the kept bytes of the target are
    read."""
    cdef size_t length = strlen(parameter)
    cdef size_t begin = request.parser.path_end + 1
    cdef size_t kept = target_kept(request.parser)
    cdef size_t end
    while begin < kept:
        end = begin
        while end < kept and request.target[end] != b'&':
            end += 1
        if end - begin == length and memcmp(request.target + begin, parameter, length) == 0:
            return True
        begin = end + 1
    return False


cdef inline void response_begin(Text *text, const Request *request, int code, const char *type_,
                                const Text *body) noexcept nogil:
    """Append the head of a response without its own fields and Connection."""
    cdef char date[HTTP_DATE_LENGTH + 1]
    http_date_render(date, request.second)
    text_format(text, "HTTP/1.%llu %llu %s\r\nDate: %s\r\nContent-Length: %llu\r\nContent-Type: %s\r\n"
                "%s%s", <llu>request.parser.minor, <llu>code, statuses[status_of(code)].text, <const char *>date,
                <llu>body.length, type_, NOT_STORED, NO_RESOURCES)


cdef inline void response_end(Text *text, const Request *request, const Text *body) noexcept nogil:
    head_end(text, variant_of(request.parser, request.keep_alive))
    if not text_fits(body):
        text.length = text.room + 1  # the response does not fit either
    elif request.parser.method != METHOD_HEAD:
        text_put(text, body.data, body.length)
