"""The answer to an unclean path: where the clean one is. The one answer that cannot be prebuilt."""

from libc.stdint cimport int64_t, uint8_t, uint16_t
from libc.string cimport memcpy

from .answers cimport (
    ANSWER_REDIRECT, ANSWER_REDIRECT_HEAD, DATE_LENGTH, date_render, head_begin,
    head_end, head_length
)
from .http1 cimport DOT, Framing, SLASH, TARGET_KEPT
from .text cimport Text, text_html, text_open, text_put, text_string

cdef enum:
    BODY_MOST = 2048  # bytes: a target in references of up to 5 bytes, or in three bytes each, and 40 more
    RENDERED_MOST = 3072  # bytes: a head with such a target, and the body

cdef struct Redirect:
    uint16_t target_length
    uint16_t path
    uint16_t path_end
    uint8_t target[TARGET_KEPT]


cdef inline void redirect_from(Redirect *redirect, const Framing *f, const uint8_t *target) noexcept nogil:
    """Remember what the redirect is made of; f.target is at most TARGET_KEPT."""
    redirect.target_length = f.target
    redirect.path = f.path
    redirect.path_end = f.path_end
    memcpy(redirect.target, target, f.target)


cdef inline size_t path_clean(const uint8_t *path, size_t length, char *clean) noexcept nogil:
    """The path without empty segments, `.` and `..` (RFC 3986 section 5.2.4, and one slash for several); a slash at the
    end stays. `path` begins with a slash, `clean` has room for `length` bytes. Returns the length of the result."""
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


cdef inline size_t location_render(const Redirect *redirect, char *location) noexcept nogil:
    """The clean path and the query, into 3 * TARGET_KEPT bytes; its length.

    A backslash is written as %5C, since browsers take `/\\` at the beginning for the `//` of another host."""
    cdef char clean[TARGET_KEPT]
    cdef size_t length = path_clean(redirect.target + redirect.path, redirect.path_end - redirect.path, clean)
    cdef size_t begin = 0, i
    cdef Text text
    text_open(&text, location, 3 * TARGET_KEPT)
    for i in range(length):
        if clean[i] == b'\\':
            text_put(&text, clean + begin, i - begin)
            text_string(&text, "%5C")
            begin = i + 1
    text_put(&text, clean + begin, length - begin)
    text_put(&text, <const char *>redirect.target + redirect.path_end, redirect.target_length - redirect.path_end)
    return text.length


cdef inline void redirect_render(Text *text, const Redirect *redirect, uint8_t answer, int64_t second) noexcept nogil:
    """The whole answer, its headers in the order of the original."""
    cdef char location[3 * TARGET_KEPT]
    cdef char date[DATE_LENGTH]
    cdef bint head = answer >= ANSWER_REDIRECT_HEAD
    cdef int form = answer - (ANSWER_REDIRECT_HEAD if head else ANSWER_REDIRECT)
    cdef size_t length = location_render(redirect, location)
    cdef char words[BODY_MOST]
    cdef Text body
    text_open(&body, words, BODY_MOST)
    text_string(&body, '<a href="')
    text_html(&body, location, length)
    text_string(&body, '">Moved Permanently</a>.\n\n')
    head_begin(text, 301, form)
    text_string(text, "Content-Type: text/html; charset=utf-8\r\n")
    text_string(text, "Location: ")
    text_put(text, location, length)
    date_render(date, second)
    text_string(text, "\r\nDate: ")
    text_put(text, date, DATE_LENGTH)
    text_string(text, "\r\n")
    head_length(text, body.length)
    head_end(text, form)
    if not head:
        text_put(text, words, body.length)
