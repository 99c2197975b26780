"""Text that is put together, in a place that is bounded, and what text is read from."""

from libc.stdint cimport int64_t, uint64_t, uint8_t
from libc.string cimport strlen

ctypedef unsigned long long llu  # what the verb %llu of a template takes

cdef extern from "messages.h" nogil:
    const char *message_for(int number)

cdef extern from "text.h" nogil:
    struct Text "text":  # a place that text is put into; it counts what did not fit, so that it also measures
        char *data
        size_t room  # bytes that may be written at `data`
        size_t length  # bytes that were put; more than room: what is there is cut off
    void text_put(Text *text, const char *bytes, size_t length)
    void text_string(Text *text, const char *string)
    void text_number(Text *text, uint64_t number)  # in decimal
    void text_format(Text *text, const char *template, ...)  # with %s, %-s, %llu, %02llu


cdef inline void text_open(Text *text, char *pos, size_t room) noexcept nogil:
    text.data = pos
    text.room = room
    text.length = 0


cdef inline void text_measure(Text *text) noexcept nogil:
    """A text that only counts."""
    text_open(text, NULL, 0)


cdef inline bint text_fits(const Text *text) noexcept nogil:
    return text.length <= text.room


cdef inline const char *string_at(const char *strings, int number) noexcept nogil:
    """One of some strings that stand one after another, each with a NUL; the first has the number 0."""
    while number:
        strings += strlen(strings) + 1
        number -= 1
    return strings


cdef inline void text_system_error(Text *text, int error) noexcept nogil:
    """errno in words."""
    cdef const char *words = message_for(error)
    if words[0]:
        text_string(text, words)
    else:
        text_format(text, "system error %llu", <llu>error)


cdef inline const char *html_reference(char byte) noexcept nogil:
    """For the five bytes that mean something in HTML."""
    if byte > b'>':
        return NULL  # as most are
    if byte == b'&':
        return "&amp;"
    if byte == b'<':
        return "&lt;"
    if byte == b'>':
        return "&gt;"
    if byte == b'"':
        return "&#34;"
    if byte == b"'":
        return "&#39;"
    return NULL


cdef inline void text_html(Text *text, const char *bytes, size_t length) noexcept nogil:
    cdef const char *reference
    cdef size_t begin = 0, i
    for i in range(length):
        reference = html_reference(bytes[i])
        if reference != NULL:  # what stands before is put in one piece: a byte costs as much as a hundred
            text_put(text, bytes + begin, i - begin)
            text_string(text, reference)
            begin = i + 1
    text_put(text, bytes + begin, length - begin)


cdef inline int64_t number_parse(const char **pos) noexcept nogil:
    """The digits at *pos, which moves behind them; -1 if there are none."""
    cdef int64_t number = -1
    cdef char digit = pos[0][0]
    while 48 <= digit <= 57 and number < <int64_t>1 << 40:
        number = (0 if number < 0 else number * 10) + (digit - 48)
        pos[0] += 1
        digit = pos[0][0]
    return number


cdef inline bint is_printable(const char *bytes, size_t length) noexcept nogil:
    """No control byte, which would tear a line of the log."""
    cdef size_t i
    for i in range(length):
        if <uint8_t>bytes[i] < 32 or bytes[i] == 127:
            return False
    return True


cdef inline void text_printable(Text *text, const char *bytes, size_t length) noexcept nogil:
    """With ? for each control byte."""
    cdef size_t i
    for i in range(length):
        if is_printable(bytes + i, 1):
            text_put(text, bytes + i, 1)
        else:
            text_string(text, "?")
