"""A place that text is put into: bounded, and it counts what did not fit, so that it also measures."""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, strlen

cdef extern from "system_errors.h" nogil:
    const char *system_error_words(int error)

cdef struct Text:
    char *at
    size_t room  # bytes that may be written at `at`
    size_t length  # bytes that were put; more than room: what is there is cut off


cdef inline Text text_into(char *at, size_t room) noexcept nogil:
    cdef Text text
    text.at = at
    text.room = room
    text.length = 0
    return text


cdef inline Text text_measure() noexcept nogil:
    """A text that only counts."""
    return text_into(NULL, 0)


cdef inline bint text_fits(const Text *text) noexcept nogil:
    return text.length <= text.room


cdef inline void text_put(Text *text, const char *bytes, size_t length) noexcept nogil:
    if text.length < text.room:
        memcpy(text.at + text.length, bytes, min(length, text.room - text.length))
    text.length += length


cdef inline void text_string(Text *text, const char *string) noexcept nogil:
    text_put(text, string, strlen(string))


cdef inline void text_number(Text *text, uint64_t number, unsigned int base=10) noexcept nogil:
    """In decimal, or in some other base up to 16."""
    cdef const char *figures = "0123456789abcdef"
    cdef char digits[20]
    cdef size_t at = 20
    while True:
        at -= 1
        digits[at] = figures[number % base]
        number //= base
        if number == 0:
            break
    text_put(text, digits + at, 20 - at)


cdef inline void text_system_error(Text *text, int error) noexcept nogil:
    """errno in words."""
    cdef const char *words = system_error_words(error)
    if words == NULL:
        text_string(text, "system error ")
        text_number(text, <unsigned int>error)
    else:
        text_string(text, words)


cdef inline void two_digits(char *at, int number) noexcept nogil:
    """A number below 100."""
    at[0] = <char>(48 + number // 10)
    at[1] = <char>(48 + number % 10)


cdef inline void text_html(Text *text, const char *bytes, size_t length) noexcept nogil:
    """With the five bytes that mean something in HTML written as references."""
    cdef size_t i
    for i in range(length):
        if bytes[i] == b'&':
            text_string(text, "&amp;")
        elif bytes[i] == b'<':
            text_string(text, "&lt;")
        elif bytes[i] == b'>':
            text_string(text, "&gt;")
        elif bytes[i] == b'"':
            text_string(text, "&#34;")
        elif bytes[i] == b"'":
            text_string(text, "&#39;")
        else:
            text_put(text, bytes + i, 1)


cdef inline int64_t number_parse(const char **at) noexcept nogil:
    """The digits at *at, which moves behind them; -1 if there are none."""
    cdef int64_t number = -1
    cdef char digit = at[0][0]
    while 48 <= digit <= 57 and number < <int64_t>1 << 40:
        number = (0 if number < 0 else number * 10) + (digit - 48)
        at[0] += 1
        digit = at[0][0]
    return number
