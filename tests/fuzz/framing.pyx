"""A fuzz target (libFuzzer) over the framing of requests, and what is made of a request at once: its redirect.

What must hold for any bytes: they are framed the same way however they are cut; before the end of a valid request
nothing is wrong, and after a wrong one nothing is read; a request that keeps its connection open is not so short that a
segment could hold more answers than there is room for; a redirect fits into its place and leads to this host.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memchr, memcmp, memcpy, memset

from yinyang.core.http.parser cimport (
    FLAG_UNCLEAN, OUTCOME_MORE, OUTCOME_READY, Parser, TARGET_KEPT, Target, parser_feed, parser_keeps_alive,
    parser_next, target_keep
)
from yinyang.core.http.send_queue cimport DYNAMIC_MAX, REQUEST_MIN
from yinyang.core.routes.redirect cimport location_render, redirect_render
from yinyang.core.text.buffer cimport Text, text_fits, text_open

cdef enum:
    RECORDS = 64

cdef struct Record:  # of one request
    Parser framing
    size_t end
    uint8_t target[TARGET_KEPT]

cdef struct Records:
    size_t count
    Record of[RECORDS]


cdef void record_all(const uint8_t *data, size_t size, size_t step, Records *records) noexcept nogil:
    """Frame all, cut into pieces of `step` bytes, each in memory of its own, as far as there are records."""
    cdef Parser f
    cdef Target target
    cdef uint8_t kept[TARGET_KEPT]
    cdef size_t pos = 0, length, begin = 0
    cdef uint8_t *piece
    cdef const uint8_t *p
    cdef int outcome = OUTCOME_MORE
    memset(records, 0, sizeof(Records))
    memset(&f, 0, sizeof(f))
    memset(kept, 0, sizeof(kept))
    while pos < size and records.count < RECORDS:
        length = min(step, size - pos)
        piece = <uint8_t *>malloc(length)
        memcpy(piece, data + pos, length)
        p = piece
        while records.count < RECORDS:
            outcome = parser_feed(&f, &p, piece + length, &target)
            target_keep(&f, &target, kept)
            if outcome == OUTCOME_MORE:
                break
            records.of[records.count].framing = f
            memcpy(records.of[records.count].target, kept, sizeof(kept))
            # where a wrong one was noticed may depend on the cut, where a request ends may not
            records.of[records.count].end = pos + (p - piece) if outcome == OUTCOME_READY else 0
            records.count += 1
            if outcome != OUTCOME_READY or not parser_keeps_alive(&f):
                free(piece)
                return
            if pos + (p - piece) - begin < REQUEST_MIN:
                abort()
            begin = pos + (p - piece)
            parser_next(&f)
            memset(kept, 0, sizeof(kept))
        free(piece)
        pos += length


cdef void check_redirect(const Record *record) noexcept nogil:
    cdef char *rendered = <char *>malloc(DYNAMIC_MAX)
    cdef char location[3 * TARGET_KEPT]
    cdef Text text
    cdef size_t length
    text_open(&text, rendered, DYNAMIC_MAX)
    redirect_render(&text, &record.framing, record.target, True, 0)
    length = location_render(&record.framing, record.target, location)
    if not text_fits(&text) or length == 0 or location[0] != b'/' or memchr(location, b'\r', length) != NULL:
        abort()
    if length > 1 and (location[1] == b'/' or location[1] == b'\\'):
        abort()
    free(rendered)


cdef bint same(const Records *one, const Records *other) noexcept nogil:
    cdef size_t i
    if one.count != other.count:
        return False
    for i in range(one.count):
        if one.of[i].end != other.of[i].end or one.of[i].framing.error != other.of[i].framing.error:
            return False
        if not one.of[i].framing.error and memcmp(&one.of[i], &other.of[i], sizeof(Record)):
            return False
    return True


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
        if not whole.of[i].framing.error and whole.of[i].framing.flags & FLAG_UNCLEAN:
            if whole.of[i].framing.target <= TARGET_KEPT:
                check_redirect(&whole.of[i])
    return 0
