"""JSON (RFC 8259) of others, read strictly and without recursion."""

from libc.stdint cimport int32_t, int64_t, uint64_t, uint8_t
from libc.string cimport memcmp

from ..text.buffer cimport hex_digit
from ..text.utf8 cimport REPLACEMENT, utf8_next

cdef enum:
    JSON_DEPTH = 64  # of arrays and objects in each other; what is deeper is not read
    JSON_END = -2  # of a string
    JSON_WRONG = -1

cdef struct Json:
    const uint8_t *pos
    const uint8_t *end


# ---- the parts of a document --------------------------------------------------------------------------------------

cdef inline void json_space(Json *j) noexcept nogil:
    while j.pos < j.end and (j.pos[0] == b' ' or j.pos[0] == b'\t' or j.pos[0] == b'\n' or j.pos[0] == b'\r'):
        j.pos += 1


cdef inline bint json_take(Json *j, char byte) noexcept nogil:
    """Pass over a byte, if it comes next."""
    if j.pos < j.end and j.pos[0] == <uint8_t>byte:
        j.pos += 1
        return True
    return False


cdef inline int32_t json_char(Json *j) noexcept nogil:
    """The next character of a string, whose first quote was taken; JSON_END behind its last quote. REPLACEMENT for half
    of a surrogate pair."""
    cdef int32_t character
    if j.pos >= j.end:
        return JSON_WRONG
    character = utf8_next(&j.pos, j.end)
    if character < 32:  # or no UTF-8
        return JSON_WRONG
    if character == b'"':
        return JSON_END
    return json_escape(j) if character == b'\\' else character


cdef inline int32_t json_escape(Json *j) noexcept nogil:
    """The character that an escape stands for, whose backslash was taken."""
    cdef Json ahead
    cdef int32_t first, second
    cdef uint8_t letter
    if j.pos >= j.end:
        return JSON_WRONG
    letter = j.pos[0]
    j.pos += 1
    if letter == b'"' or letter == b'\\' or letter == b'/':
        return letter
    if letter == b'b':
        return 8
    if letter == b'f':
        return 12
    if letter == b'n':
        return 10
    if letter == b'r':
        return 13
    if letter == b't':
        return 9
    if letter != b'u':
        return JSON_WRONG
    first = json_hex(j)
    if first < 0xD800 or first > 0xDFFF:
        return first
    ahead = j[0]
    if first < 0xDC00 and json_take(&ahead, b'\\') and json_take(&ahead, b'u'):
        second = json_hex(&ahead)
        if 0xDC00 <= second <= 0xDFFF:
            j[0] = ahead
            return 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
    return REPLACEMENT


cdef inline int32_t json_hex(Json *j) noexcept nogil:
    """The number of four hexadecimal digits; JSON_WRONG if they are none."""
    cdef int32_t number = 0
    cdef int digit, i
    if j.end - j.pos < 4:
        return JSON_WRONG
    for i in range(4):
        digit = hex_digit(<char>j.pos[i])
        if digit < 0:
            return JSON_WRONG
        number = number << 4 | digit
    j.pos += 4
    return number


cdef inline bint json_string_skip(Json *j) noexcept nogil:
    """Pass over a string with its quotes; False if there is none."""
    cdef int32_t character = 0
    if not json_take(j, b'"'):
        return False
    while character >= 0:
        character = json_char(j)
    return character == JSON_END


cdef inline bint json_digits_skip(Json *j) noexcept nogil:
    """Pass over one digit or more."""
    cdef const uint8_t *begin = j.pos
    while j.pos < j.end and b'0' <= j.pos[0] <= b'9':
        j.pos += 1
    return j.pos > begin


cdef inline bint json_number_skip(Json *j) noexcept nogil:
    json_take(j, b'-')
    if not json_take(j, b'0') and not json_digits_skip(j):
        return False
    if json_take(j, b'.') and not json_digits_skip(j):
        return False
    if json_take(j, b'e') or json_take(j, b'E'):
        if not json_take(j, b'+'):
            json_take(j, b'-')
        return json_digits_skip(j)
    return True


cdef inline int64_t json_whole(Json *j) noexcept nogil:
    """A whole number from 0 to 2^40; -1 if the next value is none. Passes over its digits."""
    cdef Json number = j[0]
    cdef int64_t whole = 0
    if not json_number_skip(j):
        return -1
    while number.pos < j.pos:
        if not b'0' <= number.pos[0] <= b'9':
            return -1
        whole = whole * 10 + (number.pos[0] - 48)
        if whole > <int64_t>1 << 40:
            return -1
        number.pos += 1
    return whole


cdef inline bint json_word_skip(Json *j, const char *word, int length) noexcept nogil:
    if j.end - j.pos < length or memcmp(j.pos, word, <size_t>length) != 0:
        return False
    j.pos += length
    return True


cdef inline bint json_plain_skip(Json *j) noexcept nogil:
    """Pass over a string, a number, or a word."""
    cdef uint8_t byte
    if j.pos >= j.end:
        return False
    byte = j.pos[0]
    if byte == b'"':
        return json_string_skip(j)
    if byte == b't':
        return json_word_skip(j, "true", 4)
    if byte == b'f':
        return json_word_skip(j, "false", 5)
    if byte == b'n':
        return json_word_skip(j, "null", 4)
    return json_number_skip(j)


cdef inline bint json_key_skip(Json *j) noexcept nogil:
    """Pass over a key and its colon."""
    json_space(j)
    if not json_string_skip(j):
        return False
    json_space(j)
    return json_take(j, b':')


cdef inline bint json_skip(Json *j, int within) noexcept nogil:
    """Pass over a value, with all that is in it; False if there is none. It is within so many arrays and objects."""
    cdef uint64_t objects = 0  # a bit for each level, 1 for an object, the innermost last
    cdef int depth = 0
    cdef bint is_object
    while True:
        json_space(j)
        is_object = json_take(j, b'{')
        if is_object or json_take(j, b'['):
            if within + depth == JSON_DEPTH:
                return False
            depth += 1
            objects = objects << 1 | is_object
            json_space(j)
            if not json_take(j, b'}' if is_object else b']'):
                if is_object and not json_key_skip(j):
                    return False
                continue
            depth -= 1
            objects >>= 1
        elif not json_plain_skip(j):
            return False
        while depth:
            json_space(j)
            is_object = objects & 1
            if json_take(j, b','):
                if is_object and not json_key_skip(j):
                    return False
                break
            if not json_take(j, b'}' if is_object else b']'):
                return False
            depth -= 1
            objects >>= 1
        if depth == 0:
            return True
