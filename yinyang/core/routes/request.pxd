"""The request as a renderer sees it, and the head and end of a rendered response."""

from libc.stdint cimport int64_t, uint32_t, uint8_t
from libc.string cimport memcmp, strlen

from ..http.head_record cimport HeadRecord
from ..http.parser cimport BYTE_HEX, METHOD_HEAD, Parser, byte_roles, digit_value, parser_prefers_text, target_kept
from ..http.proxy_header cimport Source
from ..http.responses cimport head_end, reason_of, variant_of
from ..identity.replica cimport Replica
from ..shared.scoreboard cimport Scoreboard
from ..text.buffer cimport Text, llu, text_fits, text_format, text_put, text_string
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
    int fd  # of its connection
    const HeadRecord *head  # what is kept of it, for rows with ECHOES; NULL if there was no room
    const Source *source  # as told by a PROXY header; NULL without --proxy-protocol
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


cdef inline bint request_value(const Request *request, const char *name, char *value, size_t room) noexcept nogil:
    """Whether the query has a parameter with this name; its value, in which %XX is decoded, and a NUL are written to
    `value`, as far as there is room. Only the kept bytes of the target are read. A value with %00 is none."""
    cdef size_t length = strlen(name)
    cdef size_t pos = request.parser.path_end + 1
    cdef size_t kept = target_kept(request.parser)
    cdef size_t out = 0
    cdef const uint8_t *bytes
    while pos < kept:
        if pos + length < kept and request.target[pos + length] == b'=':
            if memcmp(request.target + pos, name, length) == 0:
                break
        while pos < kept and request.target[pos] != b'&':
            pos += 1
        pos += 1
    if pos >= kept:
        return False
    pos += length + 1
    while pos < kept and request.target[pos] != b'&' and out < room - 1:
        value[out] = <char>request.target[pos]
        bytes = request.target + pos
        if bytes[0] == b'%' and begins_with_hex_digits(bytes + 1, kept - pos - 1):
            value[out] = <char>(digit_value(bytes[1]) << 4 | digit_value(bytes[2]))
            pos += 2
        out += 1
        pos += 1
    value[out] = 0
    return strlen(value) == out


cdef inline bint begins_with_hex_digits(const uint8_t *bytes, size_t length) noexcept nogil:
    """Whether the two digits of a percent-encoding come first."""
    return length >= 2 and byte_roles[bytes[0]] & byte_roles[bytes[1]] & BYTE_HEX != 0


cdef inline bint request_prefers_text(const Request *request) noexcept nogil:
    """Whether plain text is asked for, where JSON is the default. For rows with READS_ACCEPT."""
    return request_asks(request, "format=text") or parser_prefers_text(request.parser)


cdef inline void response_begin(Text *text, const Request *request, int code, const char *type_,
                                const Text *body) noexcept nogil:
    """Append the head of a response without its own fields and Connection; `body` is NULL if its status has none."""
    cdef char date[HTTP_DATE_LENGTH + 1]
    http_date_render(date, request.second)
    text_format(text, "HTTP/1.%llu %llu %s\r\nDate: %s\r\n", <llu>request.parser.minor, <llu>code, reason_of(code),
                <const char *>date)
    if body != NULL:
        text_format(text, "Content-Length: %llu\r\nContent-Type: %s\r\n", <llu>body.length, type_)
    text_string(text, NOT_STORED)
    text_string(text, NO_RESOURCES)


cdef inline void response_end(Text *text, const Request *request, const Text *body) noexcept nogil:
    head_end(text, variant_of(request.parser, request.keep_alive))
    if body == NULL:
        return
    if not text_fits(body):
        text.length = text.room + 1  # the response does not fit either
    elif request.parser.method != METHOD_HEAD:
        text_put(text, body.data, body.length)
