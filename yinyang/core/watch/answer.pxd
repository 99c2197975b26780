"""The answer to a request of the watch: HTTP/1 as a client reads it (RFC 9112).

The caller receives into `buffer + length`, where ANSWER_MAX - length bytes have room, adds to `length`, and parses.
What comes of an answer does not depend on how its bytes were cut, and a byte costs the same however many came before.
"""

from libc.stdint cimport uint64_t, uint8_t
from libc.string cimport memchr, memmove, memset

from ..text.buffer cimport hex_digit

cdef extern from "http_chars.h" nogil:
    enum:
        BYTE_TOKEN
    const uint8_t byte_roles[256]

cdef extern from "simd_scan.h" nogil:
    const uint8_t *scan_value(const uint8_t *begin, const uint8_t *pos, const uint8_t *end)

cdef enum:
    ANSWER_MAX = 81920  # bytes of head and body that are kept; there is always room for one more than may come
    BODY_MAX = 65536  # bytes of a body, without the framing of chunks
    HEAD_MAX = ANSWER_MAX - BODY_MAX - 1  # bytes of a head
    FRAMING_MAX = 1048576  # bytes of chunk sizes, their extensions and trailers, which are not kept
    INTERIMS_MAX = 16  # answers with a status below 200 before the final one
    STATUS_LINE_MIN = 12  # bytes up to the status

cdef enum AnswerState:
    ANSWER_MORE  # bytes are missing
    ANSWER_DONE
    ANSWER_NOT_HTTP
    ANSWER_TOO_LARGE  # for whoami, which has some hundred bytes
    ANSWER_CUT  # the connection was closed within it

cdef enum AnswerPart:  # what the next byte belongs to
    PART_HEAD
    PART_BODY  # of a known length
    PART_BODY_TO_END  # of the connection
    PART_CHUNK_SIZE
    PART_CHUNK_SPACE  # behind the size
    PART_CHUNK_EXTENSION
    PART_CHUNK_LINE_END  # its LF
    PART_CHUNK
    PART_CHUNK_END
    PART_CHUNK_END_LF
    PART_TRAILER

cdef struct Span:  # bytes of an answer; NULL if there is none
    const char *bytes
    size_t length

cdef struct Answer:
    char *buffer  # of ANSWER_MAX bytes
    size_t length  # bytes that are in it
    size_t head  # bytes of the head, when it is whole and right
    int status  # from 200 to 599, when the head is whole
    bint keeps_alive  # when it is done: another request may be sent on this connection
    Span served_by
    Span version
    Span zone
    Span node
    Span location
    bint sets_cookies
    Span body  # when it is done; chunks are joined in place

    # the parser's
    AnswerState state
    AnswerPart part
    bint is_persistent  # the connection, by the head
    size_t scanned  # bytes that were looked at
    size_t line  # where the line of the head begins that is not whole; or bytes of the line of the trailer
    size_t fields  # where the lines of fields begin
    size_t body_length  # bytes of the body that are in their place
    size_t left  # bytes of the body, or of a chunk, that are missing
    size_t framing  # bytes
    bint has_size  # of a chunk: a digit, at least
    bint ends_in_cr  # the line of the trailer
    int interims


cdef inline void answer_open(Answer *a, char *buffer) noexcept nogil:
    """The buffer has ANSWER_MAX bytes, and stays the caller's."""
    a.buffer = buffer
    answer_begin(a)


cdef inline void answer_begin(Answer *a) noexcept nogil:
    """Be ready for the answer to the next request; nothing of the former one remains."""
    cdef char *buffer = a.buffer
    memset(a, 0, sizeof(Answer))
    a.buffer = buffer
    a.state = ANSWER_MORE
    a.part = PART_HEAD


cdef inline AnswerState answer_parse(Answer *a) noexcept nogil:
    """Take into account what was received since the last call.

    Who only wants to know a status other than 200 need not wait for the body: `status` is set once `head` is.
    """
    if a.state == ANSWER_MORE and a.part == PART_HEAD:
        a.state = head_parse(a)
    if a.state == ANSWER_MORE and a.part != PART_HEAD:
        a.state = body_parse(a)
    return a.state


cdef inline AnswerState answer_end(Answer *a) noexcept nogil:
    """Take into account that the server has closed the connection, or its half of it."""
    if answer_parse(a) == ANSWER_MORE:
        a.state = answer_done(a) if a.part == PART_BODY_TO_END else ANSWER_CUT
    a.keeps_alive = False
    return a.state


cdef inline bint answer_cookie(const Answer *a, size_t *pos, Span *line) noexcept nogil:
    """The next value of Set-Cookie; False if there is none. *pos is 0 at first."""
    cdef Span name
    if a.head == 0 or not a.sets_cookies:
        return False
    if pos[0] < a.fields:
        pos[0] = a.fields
    while field_next(a.buffer, pos, a.head, &name, line):
        if span_is(&name, "set-cookie"):
            return True
    return False


# ---- texts of a head ----------------------------------------------------------------------------------------------

cdef inline uint8_t lower(char byte) noexcept nogil:
    return <uint8_t>byte + 32 if b'A' <= byte <= b'Z' else <uint8_t>byte


cdef inline bint is_blank(char byte) noexcept nogil:
    return byte == b' ' or byte == b'\t'


cdef inline void span_set(Span *span, const char *begin, const char *end) noexcept nogil:
    """Without the white space around it."""
    while begin < end and is_blank(begin[0]):
        begin += 1
    while begin < end and is_blank((end - 1)[0]):
        end -= 1
    span.bytes = begin
    span.length = <size_t>(end - begin)


cdef inline bint span_is(const Span *span, const char *word) noexcept nogil:
    """In any case; the word is in lower case."""
    cdef size_t i
    for i in range(span.length):
        if word[i] == 0 or lower(span.bytes[i]) != <uint8_t>word[i]:
            return False
    return word[span.length] == 0


cdef inline bint element_next(Span *rest, Span *element) noexcept nogil:
    """The next element of a list with commas, which is taken off `rest`; False at the end."""
    cdef const char *begin = rest.bytes
    cdef const char *end
    cdef const char *comma = begin
    if begin == NULL:
        return False
    end = begin + rest.length
    while comma < end and comma[0] != b',':
        comma += 1
    span_set(element, begin, comma)
    if comma < end:
        rest.bytes = comma + 1
        rest.length = <size_t>(end - rest.bytes)
    else:
        rest.bytes = NULL
        rest.length = 0
    return True


cdef inline bint field_next(const char *buffer, size_t *pos, size_t head, Span *name, Span *value) noexcept nogil:
    """The field in the line at *pos, which moves behind it; False at the empty line that ends a head, or in a line that
    is no field."""
    cdef const char *begin = buffer + pos[0]
    cdef const char *end
    cdef const char *colon = begin
    if pos[0] >= head:
        return False
    end = <const char *>memchr(begin, b'\n', head - pos[0])
    if end == NULL:
        return False
    pos[0] += <size_t>(end - begin) + 1
    if end > begin and (end - 1)[0] == b'\r':
        end -= 1
    while colon < end and byte_roles[<uint8_t>colon[0]] & BYTE_TOKEN:
        colon += 1
    if colon == begin or colon == end or colon[0] != b':':
        return False
    name.bytes = begin
    name.length = <size_t>(colon - begin)
    span_set(value, colon + 1, end)
    return True


# ---- the head -----------------------------------------------------------------------------------------------------

cdef inline AnswerState head_parse(Answer *a) noexcept nogil:
    """Look for the end of the head, and read it; again for each interim answer."""
    cdef size_t end
    while True:
        if not begins_as_http(a.buffer, min(a.length, <size_t>(STATUS_LINE_MIN + 1))):
            return ANSWER_NOT_HTTP
        end = head_end(a)
        if end == 0:
            return ANSWER_TOO_LARGE if a.length > HEAD_MAX else ANSWER_MORE
        if not head_unfold(a, end):
            return ANSWER_NOT_HTTP
        if a.status >= 200:
            return head_read(a, end)
        a.interims += 1
        if a.interims > INTERIMS_MAX or a.status == 101:  # nobody has asked for another protocol
            return ANSWER_NOT_HTTP
        a.length -= end
        memmove(a.buffer, a.buffer + end, a.length)
        a.scanned = a.line = a.fields = 0


cdef inline bint begins_as_http(const char *bytes, size_t length) noexcept nogil:
    """Whether it is a status line up to the byte behind the status, as far as it is there."""
    cdef const char *template = "HTTP/1.9 599 "
    cdef size_t i
    cdef bint is_right
    for i in range(length):
        if i < 7 or i == 8:
            is_right = bytes[i] == template[i]
        elif i == 9:
            is_right = b'1' <= bytes[i] <= b'5'
        elif i < STATUS_LINE_MIN:
            is_right = b'0' <= bytes[i] <= b'9'
        else:
            is_right = bytes[i] == b' ' or bytes[i] == b'\r' or bytes[i] == b'\n'
        if not is_right:
            return False
    return True


cdef inline size_t head_end(Answer *a) noexcept nogil:
    """Where the head ends; 0 if that is not there yet."""
    cdef size_t limit = min(a.length, <size_t>HEAD_MAX)
    cdef const char *feed
    cdef size_t line, end
    while a.scanned < limit:
        feed = <const char *>memchr(a.buffer + a.scanned, b'\n', limit - a.scanned)
        if feed == NULL:
            a.scanned = limit
            return 0
        line = a.line
        end = <size_t>(feed - a.buffer)
        a.scanned = a.line = end + 1
        if a.fields == 0:
            a.fields = end + 1  # that was the status line
        elif end == line or (end == line + 1 and a.buffer[line] == b'\r'):
            return end + 1
    return 0


cdef inline bint head_unfold(Answer *a, size_t end) noexcept nogil:
    """Read the status, and join lines that are folded, which are obsolete. False for bytes that no head may have (RFC
    9110 section 5.5)."""
    cdef char *bytes = a.buffer
    cdef size_t i = control_from(a, 0, end)
    a.status = (bytes[9] - 48) * 100 + (bytes[10] - 48) * 10 + (bytes[11] - 48)
    while i < end:
        if bytes[i] == 0 or (bytes[i] == b'\r' and bytes[i + 1] != b'\n'):  # the last byte is an LF
            return False
        if bytes[i] == b'\n' and i + 1 < end and is_blank(bytes[i + 1]):
            if i + 1 == a.fields:
                return False
            bytes[i] = b' '
            if bytes[i - 1] == b'\r':
                bytes[i - 1] = b' '
        i = control_from(a, i + 1, end)
    return True


cdef inline size_t control_from(const Answer *a, size_t pos, size_t end) noexcept nogil:
    """Where the next control byte is, or the end."""
    cdef const uint8_t *begin = <const uint8_t *>a.buffer
    return <size_t>(scan_value(begin, begin + pos, begin + end) - begin)


cdef struct Framing:  # what the fields of a head say of its body
    uint64_t content_length
    bint has_length
    bint is_chunked
    bint closes
    bint keeps_alive


cdef inline AnswerState head_read(Answer *a, size_t end) noexcept nogil:
    """Read the fields of a head that is whole, and begin with the body."""
    cdef bint is_old = a.buffer[7] == b'0'
    cdef size_t pos = a.fields
    cdef Framing framing
    cdef Span name, value
    memset(&framing, 0, sizeof(framing))
    while field_next(a.buffer, &pos, end, &name, &value):
        if not field_read(a, &framing, &name, &value):
            return ANSWER_NOT_HTTP
    if pos != end:  # it was not the empty line that is no field
        return ANSWER_NOT_HTTP
    a.head = end
    a.is_persistent = not framing.closes and (framing.keeps_alive or not is_old)
    return body_begin(a, &framing, is_old)


cdef inline bint field_read(Answer *a, Framing *framing, const Span *name, const Span *value) noexcept nogil:
    """False if the length of the body is wrong."""
    if lower(name.bytes[0]) == b'x':
        own_field_read(a, name, value)
    elif span_is(name, "content-length"):
        return content_length_read(framing, value)
    elif span_is(name, "transfer-encoding"):
        if framing.is_chunked or not span_is(value, "chunked"):  # no other was offered
            return False
        framing.is_chunked = True
    elif span_is(name, "connection"):
        connection_read(framing, value)
    elif span_is(name, "location"):
        keep_first(&a.location, value)
    elif span_is(name, "set-cookie"):
        a.sets_cookies = True
    return True


cdef inline void own_field_read(Answer *a, const Span *name, const Span *value) noexcept nogil:
    """A field in which a replica tells who it is."""
    if span_is(name, "x-served-by"):
        keep_first(&a.served_by, value)
    elif span_is(name, "x-version"):
        keep_first(&a.version, value)
    elif span_is(name, "x-zone"):
        keep_first(&a.zone, value)
    elif span_is(name, "x-node"):
        keep_first(&a.node, value)


cdef inline void keep_first(Span *kept, const Span *value) noexcept nogil:
    if kept.bytes == NULL:
        kept[0] = value[0]


cdef inline bint content_length_read(Framing *framing, const Span *value) noexcept nogil:
    """False if it is no number, or not that of another one."""
    cdef Span rest = value[0]
    cdef Span element
    cdef uint64_t number
    cdef size_t i
    while element_next(&rest, &element):
        number = 0
        for i in range(element.length):
            if not b'0' <= element.bytes[i] <= b'9' or number >= <uint64_t>1 << 50:
                return False
            number = number * 10 + <uint64_t>(element.bytes[i] - 48)
        if element.length == 0 or (framing.has_length and framing.content_length != number):
            return False
        framing.has_length = True
        framing.content_length = number
    return True


cdef inline void connection_read(Framing *framing, const Span *value) noexcept nogil:
    cdef Span rest = value[0]
    cdef Span element
    while element_next(&rest, &element):
        framing.closes |= span_is(&element, "close")
        framing.keeps_alive |= span_is(&element, "keep-alive")


# ---- the body -----------------------------------------------------------------------------------------------------

cdef inline AnswerState body_begin(Answer *a, const Framing *framing, bint is_old) noexcept nogil:
    """Find out how the body ends (RFC 9112 section 6.3)."""
    a.scanned = a.head
    if a.status == 204 or a.status == 304:
        a.part = PART_BODY
        a.left = 0
    elif framing.is_chunked:
        a.part = PART_CHUNK_SIZE
        if is_old or framing.has_length:  # who sends that is not to be trusted with a further answer
            a.is_persistent = False
    elif framing.has_length:
        a.part = PART_BODY
        if framing.content_length > BODY_MAX:
            return ANSWER_TOO_LARGE
        a.left = <size_t>framing.content_length
    else:
        a.part = PART_BODY_TO_END
        a.is_persistent = False
    return ANSWER_MORE


cdef inline AnswerState answer_done(Answer *a) noexcept nogil:
    a.body.bytes = a.buffer + a.head
    a.body.length = a.body_length
    a.keeps_alive = a.is_persistent and a.scanned == a.length  # else it has sent what nobody has asked for
    return ANSWER_DONE


cdef inline AnswerState body_parse(Answer *a) noexcept nogil:
    cdef size_t count = a.length - a.scanned
    if a.part == PART_BODY_TO_END:
        a.scanned = a.length
        a.body_length += count
        return ANSWER_TOO_LARGE if a.body_length > BODY_MAX else ANSWER_MORE
    if a.part == PART_BODY:
        count = min(count, a.left)
        a.scanned += count
        a.body_length += count
        a.left -= count
        return ANSWER_MORE if a.left else answer_done(a)
    return chunks_parse(a)


cdef inline AnswerState chunks_parse(Answer *a) noexcept nogil:
    """Join chunks; when all bytes were looked at, the framing is no more in the buffer."""
    cdef AnswerState state = ANSWER_MORE
    while state == ANSWER_MORE and a.scanned < a.length:
        if a.part == PART_CHUNK:
            chunk_move(a)
        else:
            a.framing += 1
            a.scanned += 1
            state = framing_parse(a, a.buffer[a.scanned - 1])
            if a.framing > FRAMING_MAX and state == ANSWER_MORE:
                state = ANSWER_TOO_LARGE
    if state == ANSWER_MORE:
        a.length = a.scanned = a.head + a.body_length
    return state


cdef inline void chunk_move(Answer *a) noexcept nogil:
    """Move what is there of a chunk to its place in the body."""
    cdef size_t count = min(a.length - a.scanned, a.left)
    memmove(a.buffer + a.head + a.body_length, a.buffer + a.scanned, count)
    a.scanned += count
    a.body_length += count
    a.left -= count
    if a.left == 0:
        a.part = PART_CHUNK_END


cdef inline AnswerState framing_parse(Answer *a, char byte) noexcept nogil:
    """Take a byte into account that belongs to no chunk (RFC 9112 section 7.1)."""
    if a.part == PART_CHUNK_SIZE:
        return chunk_size_parse(a, byte)
    if a.part == PART_CHUNK_SPACE or a.part == PART_CHUNK_EXTENSION:
        return chunk_extension_parse(a, byte)
    if a.part == PART_CHUNK_LINE_END:
        if byte != b'\n':
            return ANSWER_NOT_HTTP
        a.part = PART_CHUNK if a.left else PART_TRAILER
        a.line = 0
        a.has_size = False
    elif a.part == PART_CHUNK_END:
        if byte != b'\r':
            return ANSWER_NOT_HTTP
        a.part = PART_CHUNK_END_LF
    elif a.part == PART_CHUNK_END_LF:
        if byte != b'\n':
            return ANSWER_NOT_HTTP
        a.part = PART_CHUNK_SIZE
    else:
        return trailer_parse(a, byte)
    return ANSWER_MORE


cdef inline AnswerState chunk_size_parse(Answer *a, char byte) noexcept nogil:
    cdef int value = hex_digit(byte)
    if value >= 0:
        a.has_size = True
        a.left = a.left * 16 + <size_t>value
        return ANSWER_TOO_LARGE if a.left > BODY_MAX - a.body_length else ANSWER_MORE
    if not a.has_size:
        return ANSWER_NOT_HTTP
    a.part = PART_CHUNK_SPACE
    return chunk_extension_parse(a, byte)


cdef inline AnswerState chunk_extension_parse(Answer *a, char byte) noexcept nogil:
    """Extensions are passed over."""
    if byte == b'\r':
        a.part = PART_CHUNK_LINE_END
    elif byte == b';':
        a.part = PART_CHUNK_EXTENSION
    elif byte == b'\n' or (a.part == PART_CHUNK_SPACE and not is_blank(byte)):
        return ANSWER_NOT_HTTP
    return ANSWER_MORE


cdef inline AnswerState trailer_parse(Answer *a, char byte) noexcept nogil:
    """Fields behind the last chunk are passed over, up to an empty line."""
    if byte != b'\n':
        a.line += 1
        a.ends_in_cr = byte == b'\r'
    elif a.line == 0 or (a.line == 1 and a.ends_in_cr):
        return answer_done(a)
    else:
        a.line = 0
    return ANSWER_MORE
