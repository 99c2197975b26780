"""Text: a buffer of a fixed size, escaping, and small parsers."""

from libc.stdint cimport int64_t, uint64_t, uint8_t
from libc.string cimport memset, strlen

ctypedef unsigned long long llu  # what the verb %llu of a template takes

cdef extern from "messages.h" nogil:
    const char *system_error_message(int error)

cdef extern from "text.h" nogil:
    struct Text "text":  # a buffer for text; it counts bytes that do not fit, so it also measures
        char *data
        size_t room  # bytes that may be written at `data`
        size_t length  # bytes that were put; if it exceeds room, the text is cut off
    void text_put(Text *text, const char *bytes, size_t length)
    void text_string(Text *text, const char *string)
    void text_quoted_bytes(Text *text, const char *bytes, size_t count)  # as %-s of text_format
    void text_number(Text *text, uint64_t number)  # in decimal
    void text_format(Text *text, const char *template, ...)  # with %s, %-s, %llu, %02llu


cdef enum:
    QUOTED_MAX = 64  # bytes of a wrong value that a message repeats


cdef inline void text_open(Text *text, char *pos, size_t room) noexcept nogil:
    text.data = pos
    text.room = room
    text.length = 0


cdef inline void text_clear(Text *text) noexcept nogil:
    """Empty a text whose reader stops at a NUL."""
    memset(text.data, 0, min(text.length, text.room))
    text.length = 0


cdef inline void text_measure(Text *text) noexcept nogil:
    """Make a text that only counts its bytes."""
    text_open(text, NULL, 0)


cdef inline bint text_fits(const Text *text) noexcept nogil:
    return text.length <= text.room


cdef inline void text_system_error(Text *text, int error) noexcept nogil:
    """The message for an errno."""
    cdef const char *message = system_error_message(error)
    if message != NULL:
        text_string(text, message)
    else:
        text_format(text, "system error %llu", <llu>error)


cdef inline const char *html_reference(char byte) noexcept nogil:
    """The HTML character reference of a byte; NULL if the byte needs none."""
    if byte > b'>':
        return NULL  # most bytes
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
    """Append bytes, escaped for HTML; runs of plain bytes are copied at once."""
    cdef const char *reference
    cdef size_t begin = 0, i
    for i in range(length):
        reference = html_reference(bytes[i])
        if reference != NULL:
            text_put(text, bytes + begin, i - begin)
            text_string(text, reference)
            begin = i + 1
    text_put(text, bytes + begin, length - begin)


cdef inline int64_t number_parse(const char **pos) noexcept nogil:
    """The number at *pos, which moves past its digits; -1 if there are none. Digits after 2^40 are not read."""
    cdef int64_t number = -1
    cdef char digit = pos[0][0]
    while 48 <= digit <= 57 and number < <int64_t>1 << 40:
        number = (0 if number < 0 else number * 10) + (digit - 48)
        pos[0] += 1
        digit = pos[0][0]
    return number


cdef inline int hex_digit(char digit) noexcept nogil:
    """The value of the digit; -1 if it is no hexadecimal digit."""
    if b'0' <= digit <= b'9':
        return digit - 48
    digit |= 0x20
    return digit - 87 if b'a' <= digit <= b'f' else -1


cdef inline size_t control_length(const char *bytes, size_t length) noexcept nogil:
    """The bytes of the control character (of ASCII, or U+0080 to U+009F in UTF-8) that comes first; 0 if none does."""
    cdef uint8_t first = bytes[0]
    if first < 32 or first == 127:
        return 1
    return 2 if first == 0xC2 and length > 1 and <uint8_t>bytes[1] & 0xE0 == 0x80 else 0


cdef inline bint is_printable(const char *bytes, size_t length) noexcept nogil:
    """Whether the bytes have no control character, which would break a line of the log, or command a terminal."""
    cdef size_t i
    for i in range(length):
        if control_length(bytes + i, length - i):
            return False
    return True


cdef inline void text_printable(Text *text, const char *bytes, size_t length) noexcept nogil:
    """Append bytes, with ? for each control character."""
    cdef size_t i = 0
    cdef size_t control
    while i < length:
        control = control_length(bytes + i, length - i)
        if control:
            text_string(text, "?")
        else:
            text_put(text, bytes + i, 1)
        i += max(control, <size_t>1)


cdef inline void text_quoted(Text *message, const char *value) noexcept nogil:
    """Append a value on one line, of limited length."""
    cdef size_t length = strlen(value)
    text_string(message, "'")
    text_printable(message, value, min(length, <size_t>QUOTED_MAX))
    if length <= QUOTED_MAX:
        text_string(message, "'")
    else:
        text_format(message, "...' (%llu bytes)", <llu>length)
