"""A fuzz target (libFuzzer) over the framing of requests, and what is made of a request at once: its redirect.

What must hold for any bytes: they are framed the same way however they are cut; before the end of a valid request
nothing is wrong, and after a wrong one nothing is read; a request that keeps its connection open is not so short that a
segment could hold more answers than there is room for; a redirect fits into its place and leads to this host.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memchr, memcmp, memcpy, memset

from yinyang.core.http1 cimport (
    Framing, OUTCOME_MORE, OUTCOME_READY, SEEN_UNCLEAN, TARGET_KEPT, Target, http1_feed, http1_keeps, http1_next,
    target_keep
)
from yinyang.core.queue cimport RENDERED_MOST, REQUEST_LEAST
from yinyang.core.redirect cimport location_render, redirect_render
from yinyang.core.text cimport Text, text_fits, text_open

cdef enum:
    RECORDS = 64

cdef struct Record:  # of one request
    Framing framing
    size_t end
    uint8_t target[TARGET_KEPT]

cdef struct Records:
    size_t count
    Record of[RECORDS]


cdef void record_all(const uint8_t *data, size_t size, size_t step, Records *records) noexcept nogil:
    """Frame all, cut into pieces of `step` bytes, each in memory of its own, as far as there are records."""
    cdef Framing f
    cdef Target target
    cdef uint8_t kept[TARGET_KEPT]
    cdef size_t at = 0, length, begin = 0
    cdef uint8_t *piece
    cdef const uint8_t *p
    cdef int outcome = OUTCOME_MORE
    memset(records, 0, sizeof(Records))
    memset(&f, 0, sizeof(f))
    memset(kept, 0, sizeof(kept))
    while at < size and records.count < RECORDS:
        length = min(step, size - at)
        piece = <uint8_t *>malloc(length)
        memcpy(piece, data + at, length)
        p = piece
        while records.count < RECORDS:
            outcome = http1_feed(&f, &p, piece + length, &target)
            target_keep(&f, &target, kept)
            if outcome == OUTCOME_MORE:
                break
            records.of[records.count].framing = f
            memcpy(records.of[records.count].target, kept, sizeof(kept))
            # where a wrong one was noticed may depend on the cut, where a request ends may not
            records.of[records.count].end = at + (p - piece) if outcome == OUTCOME_READY else 0
            records.count += 1
            if outcome != OUTCOME_READY or not http1_keeps(&f):
                free(piece)
                return
            if at + (p - piece) - begin < REQUEST_LEAST:
                abort()
            begin = at + (p - piece)
            http1_next(&f)
            memset(kept, 0, sizeof(kept))
        free(piece)
        at += length


cdef void check_redirect(const Record *record) noexcept nogil:
    cdef char *rendered = <char *>malloc(RENDERED_MOST)
    cdef char location[3 * TARGET_KEPT]
    cdef Text text
    cdef size_t length
    text_open(&text, rendered, RENDERED_MOST)
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
        if one.of[i].end != other.of[i].end or one.of[i].framing.wrong != other.of[i].framing.wrong:
            return False
        if not one.of[i].framing.wrong and memcmp(&one.of[i], &other.of[i], sizeof(Record)):
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
        if not whole.of[i].framing.wrong and whole.of[i].framing.seen & SEEN_UNCLEAN:
            if whole.of[i].framing.target <= TARGET_KEPT:
                check_redirect(&whole.of[i])
    return 0
