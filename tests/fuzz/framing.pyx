"""A fuzz target (libFuzzer) for the parser of requests, and for the redirect that is rendered from a request.

For any bytes: the outcome is the same wherever they are cut; a request that keeps its connection open is not so short
that a segment could hold more responses than there is room for; a redirect fits into its buffer, leads to this host,
and has only bytes that a URI may have.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcmp, memcpy, memset, strspn

from yinyang.core.http.parser cimport (
    FLAG_UNCLEAN, OUTCOME_MORE, OUTCOME_READY, OUTCOME_TARGET, Parser, TARGET_KEPT, Target, parser_feed,
    parser_keeps_alive, parser_next, parser_read_accept, target_begin, target_keep
)
from yinyang.core.http.send_queue cimport RENDERED_MAX, REQUEST_MIN
from yinyang.core.routes.redirect cimport LOCATION_MAX, location_render, redirect_render
from yinyang.core.routes.request cimport Request
from yinyang.core.text.buffer cimport Text, text_fits, text_open

cdef enum:
    RECORDS = 64

cdef struct Record:  # of one request
    Parser parser
    size_t end
    uint8_t target[TARGET_KEPT]

cdef struct Records:
    size_t count
    Record of[RECORDS]


cdef void record_all(const uint8_t *data, size_t size, size_t step, Records *records) noexcept nogil:
    """Parse all, cut into pieces of `step` bytes, each in memory of its own, as far as there are records."""
    cdef Parser parser
    cdef Target target
    cdef uint8_t kept[TARGET_KEPT]
    cdef size_t offset = 0, length, begin = 0
    cdef uint8_t *piece
    cdef const uint8_t *pos
    cdef int outcome = OUTCOME_MORE
    memset(records, 0, sizeof(Records))
    memset(&parser, 0, sizeof(parser))
    memset(kept, 0, sizeof(kept))
    while offset < size and records.count < RECORDS:
        length = min(step, size - offset)
        piece = <uint8_t *>malloc(length)
        memcpy(piece, data + offset, length)
        pos = piece
        target_begin(&parser, &target)
        while records.count < RECORDS:
            outcome = parser_feed(&parser, &pos, piece + length, &target)
            target_keep(&parser, &target, kept)
            if outcome == OUTCOME_TARGET:
                parser_read_accept(&parser)
                continue
            if outcome == OUTCOME_MORE:
                break
            records.of[records.count].parser = parser
            memcpy(records.of[records.count].target, kept, sizeof(kept))
            # where an error is noticed may depend on the cut, where a request ends may not
            records.of[records.count].end = offset + (pos - piece) if outcome == OUTCOME_READY else 0
            records.count += 1
            if outcome != OUTCOME_READY or not parser_keeps_alive(&parser):
                free(piece)
                return
            if offset + (pos - piece) - begin < REQUEST_MIN:
                abort()
            begin = offset + (pos - piece)
            parser_next(&parser)
            memset(kept, 0, sizeof(kept))
        free(piece)
        offset += length


cdef void check_redirect(const Record *record) noexcept nogil:
    cdef const char *uri_bytes = (  # RFC 3986 section 2, without # and brackets
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/?@!$&'()*+,;=%")
    cdef char *rendered = <char *>malloc(RENDERED_MAX)
    cdef char location[LOCATION_MAX]
    cdef Text text
    cdef size_t length
    cdef Request request
    memset(&request, 0, sizeof(request))
    request.parser = &record.parser
    request.target = record.target
    request.keep_alive = True
    text_open(&text, rendered, RENDERED_MAX)
    redirect_render(&text, &request)
    length = location_render(&record.parser, record.target, location)
    if not text_fits(&text) or location[0] != b'/' or strspn(location, uri_bytes) != length:
        abort()
    if length > 1 and (location[1] == b'/' or location[1] == b'\\'):
        abort()
    free(rendered)


cdef bint same(const Records *one, const Records *other) noexcept nogil:
    cdef size_t i
    if one.count != other.count:
        return False
    for i in range(one.count):
        if one.of[i].end != other.of[i].end or one.of[i].parser.error != other.of[i].parser.error:
            return False
        if not one.of[i].parser.error and not same_request(&one.of[i], &other.of[i]):
            return False
    return True


cdef bint same_request(const Record *one, const Record *other) noexcept nogil:
    """Whether the parser says the same of two requests. Its other members are only of use within a head."""
    cdef const Parser *p = &one.parser
    cdef const Parser *q = &other.parser
    return (p.number.body_left == q.number.body_left and p.part.body_size == q.part.body_size and p.state == q.state
            and p.target_length == q.target_length and p.path == q.path and p.path_end == q.path_end
            and p.flags == q.flags and p.json == q.json and p.text == q.text and p.method == q.method
            and p.minor == q.minor and memcmp(one.target, other.target, TARGET_KEPT) == 0)


cdef public int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) noexcept nogil:
    """The first byte tells how the rest is cut."""
    cdef Records whole, bytewise, cut
    cdef size_t i
    if size < 2:
        return 0
    record_all(data + 1, size - 1, size - 1, &whole)
    record_all(data + 1, size - 1, 1, &bytewise)
    record_all(data + 1, size - 1, <size_t>data[0] + 2, &cut)
    if not same(&whole, &bytewise) or not same(&whole, &cut):
        abort()
    for i in range(whole.count):
        if not whole.of[i].parser.error and whole.of[i].parser.flags & FLAG_UNCLEAN:
            if whole.of[i].parser.target_length <= TARGET_KEPT:
                check_redirect(&whole.of[i])
    return 0
