"""The redirect from an unclean path to the clean one."""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from ..http.parser cimport (
    BRACKET, BRACKET_END, BYTE_HOST, DOT, PERCENT, Parser, SLASH, TARGET_KEPT, byte_roles
)
from ..text.buffer cimport Text, llu, text_format, text_html, text_open, text_put, text_string
from ..text.calendar cimport HTTP_DATE_LENGTH, http_date_render
from .request cimport Request, begins_with_hex_digits, response_end

cdef enum:
    LOCATION_MAX = 3 * TARGET_KEPT + 1
    BODY_MAX = 2048  # bytes: a target with up to 5 bytes for each of its own (references) or 3 (%XX), and 40 more


cdef inline size_t path_clean(const uint8_t *path, size_t length, char *clean) noexcept nogil:
    """Remove empty segments, `.` and `..` from the path (RFC 3986 section 5.2.4, and one slash for several); a final
    slash stays. `path` begins with a slash, `clean` has room for `length` bytes. Returns the length of the result."""
    cdef size_t i = 0, out = 0, begin
    while i < length:
        i += 1  # the slash
        begin = i
        while i < length and path[i] != SLASH:
            i += 1
        if i == begin or i == begin + 1 and path[begin] == DOT:
            continue
        if i == begin + 2 and path[begin] == DOT and path[begin + 1] == DOT:
            while out and clean[out - 1] != SLASH:
                out -= 1
            if out:
                out -= 1
            continue
        clean[out] = SLASH
        memcpy(clean + out + 1, path + begin, i - begin)
        out += 1 + i - begin
    if out == 0 or path[length - 1] == SLASH:
        clean[out] = SLASH
        out += 1
    return out


cdef inline size_t location_render(const Parser *p, const uint8_t *target, char *location) noexcept nogil:
    """Write the clean path, the query and a NUL into LOCATION_MAX bytes, and return the length. The target has at most
    TARGET_KEPT bytes. The location never leads to another host: it begins with exactly one slash, and a backslash,
    which browsers read as a slash, is encoded."""
    cdef char clean[TARGET_KEPT]
    cdef size_t length = path_clean(target + p.path, p.path_end - p.path, clean)
    cdef Text text
    text_open(&text, location, LOCATION_MAX)
    text_uri(&text, <const uint8_t *>clean, length)
    text_uri(&text, target + p.path_end, p.target_length - p.path_end)
    location[text.length] = 0
    return text.length


cdef inline void text_uri(Text *text, const uint8_t *bytes, size_t length) noexcept nogil:
    """Append a path, or a query with its ?, and write %XX for each byte that RFC 3986 does not allow there."""
    cdef const char *digits = "0123456789ABCDEF"
    cdef char encoded[3]
    cdef size_t i
    encoded[0] = b'%'
    for i in range(length):
        if byte_in_uri(bytes[i]) or bytes[i] == PERCENT and begins_with_hex_digits(bytes + i + 1, length - i - 1):
            text_put(text, <const char *>bytes + i, 1)
        else:
            encoded[1] = digits[bytes[i] >> 4]
            encoded[2] = digits[bytes[i] & 15]
            text_put(text, encoded, 3)


cdef inline bint byte_in_uri(uint8_t byte) noexcept nogil:
    """pchar without its percent-encoding, / and ? (RFC 3986 section 3.4)."""
    if byte_roles[byte] & BYTE_HOST:
        return byte != BRACKET and byte != BRACKET_END and byte != PERCENT
    return byte == b'/' or byte == b'?' or byte == b'@'


cdef inline int redirect_render(Text *text, const Request *request) noexcept nogil:
    """Render the redirect; its headers are in the order of the original."""
    cdef char location[LOCATION_MAX]
    cdef size_t length = location_render(request.parser, request.target, location)
    cdef char bytes[BODY_MAX]
    cdef char date[HTTP_DATE_LENGTH + 1]
    cdef Text body
    text_open(&body, bytes, BODY_MAX)
    text_string(&body, '<a href="')
    text_html(&body, location, length)
    text_string(&body, '">Moved Permanently</a>.\n\n')
    http_date_render(date, request.second)
    text_format(text, "HTTP/1.%llu 301 Moved Permanently\r\nContent-Type: text/html; charset=utf-8\r\nLocation: %s\r\n"
                "Date: %s\r\nContent-Length: %llu\r\n", <llu>request.parser.minor, <const char *>location,
                <const char *>date, <llu>body.length)
    response_end(text, request, &body)
    return 301
