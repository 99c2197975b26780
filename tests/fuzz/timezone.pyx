"""A fuzz target (libFuzzer) for the reader of time zones: files as in TZif, and rules as in TZ.

For any bytes and any second: reading ends, within the bytes; the same bytes give the same line of the log; and the line is
of the length that is reserved for it.
"""

from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcmp, memcpy, memset

from yinyang.core.log.log_line cimport log_line_render
from yinyang.core.log.timezone cimport Timezone
from yinyang.core.text.buffer cimport Text, text_fits, text_open, text_string

cdef enum:
    SECOND = 5  # bytes of the second, which so is within 34,000 years from 1970
    LINE_MAX = 76  # bytes that supervisor/server.pxd has room for beside a message
    TZIF_MIN = 45  # bytes: a header, and something


cdef size_t render(const Timezone *timezone, int64_t second, char *line) noexcept nogil:
    cdef char words[16]
    cdef Text message, text
    text_open(&message, words, sizeof(words))
    text_string(&message, "message")
    text_open(&text, line, LINE_MAX)
    log_line_render(&text, timezone, second, &message)
    if not text_fits(&text) or text.length < sizeof("0000/00/00 00:00:00 message"):
        abort()
    return text.length


cdef public int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) noexcept nogil:
    """The first bytes are the second; the rest is a file if it begins as one, else a rule."""
    cdef char once[LINE_MAX]
    cdef char again[LINE_MAX]
    cdef Timezone timezone
    cdef int64_t second = 0
    cdef uint8_t *copy
    cdef size_t i, length
    if size < SECOND:
        return 0
    for i in range(SECOND):
        second = second << 8 | data[i]
    size -= SECOND
    copy = <uint8_t *>malloc(size + 1)
    memcpy(copy, data + SECOND, size)
    copy[size] = 0
    memset(&timezone, 0, sizeof(timezone))
    if size >= TZIF_MIN and memcmp(copy, "TZif", 4) == 0:
        timezone.file = copy
        timezone.size = <int64_t>size
    else:
        timezone.rule = <const char *>copy
    length = render(&timezone, second, once)
    if render(&timezone, second, again) != length or memcmp(once, again, length) != 0:
        abort()
    free(copy)
    return 0
