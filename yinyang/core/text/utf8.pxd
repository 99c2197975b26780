"""Characters of UTF-8 (RFC 3629), read strictly."""

from libc.stdint cimport int32_t, uint8_t

cdef enum:
    REPLACEMENT = 0xFFFD  # the character that stands for what cannot be shown
    UTF8_MAX = 4  # bytes of a character


cdef inline int32_t utf8_next(const uint8_t **pos, const uint8_t *end) noexcept nogil:
    """The character at *pos, which is before the end and moves behind it; -1 if a byte begins none, and *pos moves by
    that byte."""
    cdef const uint8_t *bytes = pos[0]
    cdef int32_t first = bytes[0]
    cdef int32_t least, character
    cdef int length, i
    pos[0] += 1
    if first < 0x80:
        return first
    length = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    if first < 0xC2 or first > 0xF4 or end - bytes < length:
        return -1
    character = first & (0x7F >> length)
    for i in range(1, length):
        if bytes[i] & 0xC0 != 0x80:
            return -1
        character = character << 6 | (bytes[i] & 0x3F)
    least = 0x80 if length == 2 else 0x800 if length == 3 else 0x10000
    if character < least or 0xD800 <= character <= 0xDFFF or character > 0x10FFFF:
        return -1
    pos[0] = bytes + length
    return character


cdef inline size_t utf8_put(char *bytes, int32_t character) noexcept nogil:
    """Write a character, which has UTF8_MAX bytes at most; how many it has."""
    if character < 0x80:
        bytes[0] = <char>character
        return 1
    if character < 0x800:
        bytes[0] = <char>(0xC0 | character >> 6)
        bytes[1] = <char>(0x80 | (character & 0x3F))
        return 2
    if character < 0x10000:
        bytes[0] = <char>(0xE0 | character >> 12)
        bytes[1] = <char>(0x80 | (character >> 6 & 0x3F))
        bytes[2] = <char>(0x80 | (character & 0x3F))
        return 3
    bytes[0] = <char>(0xF0 | character >> 18)
    bytes[1] = <char>(0x80 | (character >> 12 & 0x3F))
    bytes[2] = <char>(0x80 | (character >> 6 & 0x3F))
    bytes[3] = <char>(0x80 | (character & 0x3F))
    return 4
