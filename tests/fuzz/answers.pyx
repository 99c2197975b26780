"""A fuzz target (libFuzzer) for the answers that the watch gets.

For any bytes, however they are cut: what comes of an answer is the same; its parts lie in its buffer, and there is room
for more while it is not done; whom it tells of is UTF-8 that does nothing to a terminal; and no cookie is sent back
that would end its line.
"""

from libc.stdint cimport int32_t, uint8_t
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcmp, memcpy, memset

from yinyang.core.identity.identity cimport COLOUR_LENGTH
from yinyang.core.text.buffer cimport is_printable
from yinyang.core.text.utf8 cimport utf8_next
from yinyang.core.watch.answer cimport (
    ANSWER_DONE, ANSWER_MAX, ANSWER_MORE, Answer, BODY_MAX, Span, answer_begin, answer_end, answer_open, answer_parse
)
from yinyang.core.watch.cookies cimport COOKIES_MAX, CookieJar, JAR_REPLICAS, jar_choose, jar_open, jar_store
from yinyang.core.watch.describe cimport answer_describe, is_control
from yinyang.core.watch.sample cimport Described, Label

cdef enum:
    ENDS = 1  # bits of the first byte: the connection is closed
    IS_BODY = 2  # the bytes are a body by themselves
    IS_SECURE = 4


cdef void feed(Answer *a, const uint8_t *data, size_t size, size_t step, bint ends) noexcept nogil:
    cdef size_t count
    while size and a.state == ANSWER_MORE:
        count = min(step, min(size, ANSWER_MAX - a.length))
        if count == 0:
            abort()
        memcpy(a.buffer + a.length, data, count)
        a.length += count
        data += count
        size -= count
        answer_parse(a)
    if size:
        a.keeps_alive = False  # as for bytes that come with the end
    if ends:
        answer_end(a)


cdef void check_span(const Answer *a, const Span *span) noexcept nogil:
    if span.bytes != NULL and (
        span.bytes < a.buffer or span.bytes + span.length > a.buffer + ANSWER_MAX or span.length > BODY_MAX
    ):
        abort()


cdef void check_same(const Span *span, const Span *other) noexcept nogil:
    if (span.bytes == NULL) != (other.bytes == NULL) or span.length != other.length:
        abort()
    if span.length and memcmp(span.bytes, other.bytes, span.length) != 0:
        abort()


cdef void check_label(const Label *label) noexcept nogil:
    cdef const uint8_t *pos = <const uint8_t *>label.bytes
    cdef const uint8_t *end = pos + label.length
    cdef int32_t character
    while pos < end:
        character = utf8_next(&pos, end)
        if character < 0 or is_control(character):
            abort()


cdef void check_described(const Answer *a) noexcept nogil:
    cdef Described found
    cdef int i
    if not answer_describe(a, &found):
        return
    if found.host.length == 0 or found.short_name.length == 0 or found.started < 0:
        abort()
    check_label(&found.host)
    check_label(&found.short_name)
    check_label(&found.version)
    check_label(&found.zone)
    check_label(&found.node)
    for i in range(2):
        if found.colours[i][0] != b'#' or not is_printable(found.colours[i], COLOUR_LENGTH):
            abort()


cdef void check_jar(CookieJar *jar, const Answer *a, bint is_secure) noexcept nogil:
    cdef Label host
    cdef int i
    jar_open(jar, is_secure)
    for i in range(2):
        host.length = 1
        host.bytes[0] = <char>(97 + i)
        jar_store(jar, &host, a)
    if jar.count > 2 or jar_choose(jar, 0) >= JAR_REPLICAS or (jar.count == 0) != (jar_choose(jar, 0) < 0):
        abort()
    for i in range(jar.count):
        if jar.cookies[i].length == 0 or jar.cookies[i].length > COOKIES_MAX:
            abort()
        if not is_printable(jar.cookies[i].bytes, jar.cookies[i].length):
            abort()


cdef void check_whole(const uint8_t *data, size_t size, size_t step, int bits) noexcept nogil:
    """Read them at once, and once more in pieces."""
    cdef CookieJar *jar = <CookieJar *>malloc(sizeof(CookieJar))
    cdef Answer a, b
    answer_open(&a, <char *>malloc(ANSWER_MAX))
    answer_open(&b, <char *>malloc(ANSWER_MAX))
    feed(&b, data, size, size, False)
    answer_begin(&b)  # nothing of it remains
    feed(&a, data, size, size, bits & ENDS)
    feed(&b, data, size, step, bits & ENDS)
    if a.state != b.state or a.head != b.head or a.keeps_alive != b.keeps_alive or a.status != b.status:
        abort()
    check_span(&a, &a.body)
    check_span(&a, &a.served_by)
    check_span(&a, &a.location)
    check_same(&a.body, &b.body)
    check_same(&a.served_by, &b.served_by)
    check_same(&a.version, &b.version)
    check_same(&a.zone, &b.zone)
    check_same(&a.node, &b.node)
    check_same(&a.location, &b.location)
    if (a.state == ANSWER_DONE) != (a.body.bytes != NULL) or (a.head and not 200 <= a.status < 600):
        abort()
    check_described(&a)
    check_jar(jar, &a, bits & IS_SECURE)
    free(a.buffer)
    free(b.buffer)
    free(jar)


cdef void check_body(const uint8_t *data, size_t size) noexcept nogil:
    """In a place of its own, so that a byte behind it that is read is found."""
    cdef char *body = <char *>malloc(size + 1)
    cdef Answer a
    memset(&a, 0, sizeof(a))
    a.body.bytes = body + 1
    a.body.length = size
    memcpy(body + 1, data, size)
    check_described(&a)
    free(body)


cdef public int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) noexcept nogil:
    """The first byte has bits, the second one tells how the rest is cut."""
    if size < 2:
        return 0
    if data[0] & IS_BODY:
        check_body(data + 2, size - 2)
    else:
        check_whole(data + 2, size - 2, <size_t>data[1] + 1, data[0])
    return 0
