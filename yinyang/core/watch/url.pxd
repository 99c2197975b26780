"""The URL of the replicas: its parts, and the URL of `/whoami` below it (RFC 3986)."""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memchr, memcmp, strchr, strlen

from ..text.buffer cimport Text, number_parse, text_put, text_string

cdef extern from "<strings.h>" nogil:
    int strncasecmp(const char *text, const char *other, size_t length)

cdef extern from "text.h" nogil:
    size_t utf8_length(const char *string)  # of the first character; 0 if there is none

cdef enum:
    PORT_MAX = 65535

cdef struct Part:  # of a URL; NULL where it has none
    const char *bytes
    size_t length

cdef struct Url:
    bint is_tls
    Part user  # with the password, as they are written
    Part host  # without the brackets of an IPv6 address
    bint is_bracketed
    int port  # that of the scheme where there is none
    Part authority  # host and port, as they are written
    Part path  # it may be empty
    Part query


cdef inline bint url_parse(Url *url, const char *text) noexcept nogil:
    """Find the parts of `http://…` or `https://…`, or of `host:port/…`, which is http; False if the text is no such
    URL."""
    cdef const char *end
    cdef const char *at
    cdef const char *pos
    cdef size_t length
    url.is_tls = strncasecmp(text, "https://", strlen("https://")) == 0  # RFC 3986 section 3.1
    if url.is_tls or strncasecmp(text, "http://", strlen("http://")) == 0:
        text += strlen("https://") if url.is_tls else strlen("http://")
    elif has_scheme(text):
        return False
    if not url_is_printable(text):
        return False
    length = span_until(text, "/?#")
    end = text + length
    at = last_at_sign(text, length)
    part_set(&url.user, text if at != NULL else NULL, at)
    if at != NULL:
        text = at + 1
    part_set(&url.authority, text, end)
    if not url_parse_host(url, text, end):
        return False
    length = span_until(end, "?#")
    part_set(&url.path, end, end + length)
    pos = end + length
    part_set(&url.query, NULL, NULL)
    if pos[0] == b'?':
        part_set(&url.query, pos + 1, pos + 1 + span_until(pos + 1, "#"))
    return True


cdef inline bint has_scheme(const char *text) noexcept nogil:
    """Whether `scheme:/` comes before anything else of a URL."""
    cdef size_t length = span_until(text, "/?#")
    return length > 0 and text[length - 1] == b':' and text[length] == b'/'


cdef inline bint url_parse_host(Url *url, const char *text, const char *end) noexcept nogil:
    cdef const char *colon
    cdef int64_t port
    url.is_bracketed = text[0] == b'['
    if url.is_bracketed:
        text += 1
        colon = <const char *>memchr(text, b']', end - text)
        if colon == NULL:
            return False
        part_set(&url.host, text, colon)
        colon += 1
        if colon < end and colon[0] != b':':
            return False
    else:
        colon = <const char *>memchr(text, b':', end - text)
        part_set(&url.host, text, end if colon == NULL else colon)
    url.port = 443 if url.is_tls else 80
    if colon != NULL and colon + 1 < end:
        colon += 1
        port = number_parse(&colon)
        if not 0 < port <= PORT_MAX or colon != end:
            return False
        url.port = <int>port
    return url.host.length > 0


cdef inline void part_set(Part *part, const char *begin, const char *end) noexcept nogil:
    part.bytes = begin
    part.length = <size_t>(end - begin) if begin != NULL else 0


cdef inline size_t span_until(const char *text, const char *ends) noexcept nogil:
    """The bytes before the first of these, or before the end."""
    cdef size_t length = 0
    while text[length] and strchr(ends, text[length]) == NULL:
        length += 1
    return length


cdef inline const char *last_at_sign(const char *text, size_t length) noexcept nogil:
    while length:
        length -= 1
        if text[length] == b'@':
            return text + length
    return NULL


cdef inline bint url_is_printable(const char *text) noexcept nogil:
    """Whether it is UTF-8 without spaces and control characters."""
    cdef size_t length
    while text[0]:
        length = utf8_length(text)
        if length == 0 or 0 <= text[0] <= 32 or text[0] == 127:
            return False
        if length == 2 and <uint8_t>text[0] == 0xc2 and <uint8_t>text[1] < 0xa0:  # U+0080 to U+009F
            return False
        text += length
    return True


cdef inline void text_whoami_url(Text *text, const Url *url, bint keep_alive, bint is_displayed) noexcept nogil:
    """Append the URL of `/whoami` below this one, which asks to keep the connection; or as it is displayed: without
    user and password, and without what is not the user's."""
    text_string(text, "https://" if url.is_tls else "http://")
    if url.user.bytes != NULL and not is_displayed:
        text_put(text, url.user.bytes, url.user.length)
        text_string(text, "@")
    text_put(text, url.authority.bytes, url.authority.length)
    text_whoami_path(text, url)
    text_whoami_query(text, url, keep_alive and not is_displayed)


cdef inline void text_whoami_path(Text *text, const Url *url) noexcept nogil:
    cdef size_t length = url.path.length
    cdef size_t word = strlen("/whoami")
    while length and url.path.bytes[length - 1] == b'/':
        length -= 1
    text_put(text, url.path.bytes, length)
    if length < word or memcmp(url.path.bytes + length - word, "/whoami", word) != 0:
        text_string(text, "/whoami")


cdef inline void text_whoami_query(Text *text, const Url *url, bint keep_alive) noexcept nogil:
    cdef bint asks = keep_alive and not query_has_keep(&url.query)
    if url.query.length or asks:
        text_string(text, "?")
    if url.query.length:
        text_put(text, url.query.bytes, url.query.length)
    if asks:
        text_string(text, "&keep=1" if url.query.length else "keep=1")


cdef inline bint query_has_keep(const Part *query) noexcept nogil:
    cdef size_t begin = 0
    cdef size_t end
    while begin < query.length:
        end = begin
        while end < query.length and query.bytes[end] != b'&':
            end += 1
        if end - begin == strlen("keep=1") and memcmp(query.bytes + begin, "keep=1", strlen("keep=1")) == 0:
            return True
        begin = end + 1
    return False
