"""`/whoami`: what a replica tells of itself, for whoever counts replicas.

The same fields three times: as JSON, or as plain text (`?format=text`, or Accept lists text/plain), and as headers. It
ends its connection, so that the next sample may land elsewhere; `?keep=1` keeps it.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, strlen

from .answers cimport fresh_begin, fresh_end
from .board cimport Board, PHASE_SERVE, board_pages
from .calendar cimport STAMP_LENGTH, stamp_render
from .http1 cimport Framing, SEEN_TEXT_PLAIN, TARGET_KEPT
from .identity cimport COLOUR_LENGTH
from .replica cimport ABOUTS, Replica, short_name
from .text cimport Text, text_number, text_open, text_put, text_quoted_string, text_string

cdef extern from "atomic.h" nogil:
    uint32_t get "atomic_get"(const uint32_t *place)

cdef enum:
    WHOAMI_MOST = 3072  # bytes of the body: five texts, three bytes for each of theirs, and some hundred more

cdef enum Notation:
    NOTATION_JSON
    NOTATION_TEXT
    NOTATION_HEAD


cdef inline bint query_has(const Framing *f, const uint8_t *target, const char *wanted) noexcept nogil:
    """Is this one of the parameters of a query, which are divided by &? Only what is kept of a target is read."""
    cdef size_t length = strlen(wanted)
    cdef size_t begin = f.path_end + 1
    cdef size_t end
    cdef size_t all_ = min(<size_t>f.target, <size_t>TARGET_KEPT)
    while begin < all_:
        end = begin
        while end < all_ and target[end] != b'&':
            end += 1
        if end - begin == length and memcmp(target + begin, wanted, length) == 0:
            return True
        begin = end + 1
    return False


cdef inline bint whoami_keeps(const Framing *f, const uint8_t *target) noexcept nogil:
    """May another request follow, as far as this one is asked?"""
    return query_has(f, target, "keep=1")


cdef inline void whoami_render(Text *text, const Framing *f, const uint8_t *target, bint keep, int64_t second,
                               const Replica *replica, const Board *board, uint32_t requests) noexcept nogil:
    """`requests` that this connection has had, this one included."""
    cdef bint plain = f.seen & SEEN_TEXT_PLAIN != 0 or query_has(f, target, "format=text")
    cdef int notation = NOTATION_TEXT if plain else NOTATION_JSON
    cdef uint64_t pages = board_pages(board)
    cdef char bytes[WHOAMI_MOST]
    cdef Text body
    text_open(&body, bytes, WHOAMI_MOST)
    whoami_fields(&body, notation, replica, board, requests, pages)
    fresh_begin(text, f, keep, 200, second, "text/plain; charset=utf-8" if plain else "application/json", &body)
    text_string(text, "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: *\r\n")
    whoami_fields(text, NOTATION_HEAD, replica, board, requests, pages)
    fresh_end(text, f, keep, &body)


cdef inline void whoami_fields(Text *text, int notation, const Replica *replica, const Board *board,
                               uint32_t requests, uint64_t pages) noexcept nogil:
    cdef const char *names = "version\0node\0namespace\0zone\0"  # in their order
    cdef const char *name
    cdef size_t length = 0
    cdef int i
    if notation == NOTATION_JSON:
        text_string(text, "{")
    field_text(text, notation, "Served-By" if notation == NOTATION_HEAD else "host", replica.identity.name,
               replica.identity.length)
    name = short_name(&replica.identity, &length)
    field_text(text, notation, "short", name, length)
    field_text(text, notation, "colour", replica.identity.colours[0], COLOUR_LENGTH)
    field_colours(text, notation, replica)
    for i in range(ABOUTS):
        if replica.about[i] != NULL:
            field_text(text, notation, names, replica.about[i], strlen(replica.about[i]))
        names += strlen(names) + 1
    field_number(text, notation, "requests", requests)
    field_number(text, notation, "pages", pages)
    field_moment(text, notation, "started", board.started)
    field_begin(text, notation, "draining")
    text_string(text, "false" if get(&board.phase) == PHASE_SERVE else "true")
    text_string(text, "}\n" if notation == NOTATION_JSON else "\n" if notation == NOTATION_TEXT else "\r\n")


cdef inline void field_begin(Text *text, int notation, const char *name) noexcept nogil:
    cdef char first = name[0] & 0x5F  # in upper case
    if notation == NOTATION_JSON:
        text_string(text, '"')
        text_string(text, name)
        text_string(text, '":')
        return
    if notation == NOTATION_HEAD:
        text_string(text, "X-")
        text_put(text, &first, 1)
        name += 1
    text_string(text, name)
    text_string(text, ": ")


cdef inline void field_end(Text *text, int notation) noexcept nogil:
    text_string(text, "," if notation == NOTATION_JSON else "\n" if notation == NOTATION_TEXT else "\r\n")


cdef inline void field_value(Text *text, int notation, const char *bytes, size_t length) noexcept nogil:
    if notation == NOTATION_JSON:
        text_quoted_string(text, bytes, length)
    else:
        text_put(text, bytes, length)


cdef inline void field_text(Text *text, int notation, const char *name, const char *bytes,
                            size_t length) noexcept nogil:
    field_begin(text, notation, name)
    field_value(text, notation, bytes, length)
    field_end(text, notation)


cdef inline void field_colours(Text *text, int notation, const Replica *replica) noexcept nogil:
    """Of both halves."""
    cdef bint json = notation == NOTATION_JSON
    field_begin(text, notation, "colours")
    text_string(text, "[" if json else "")
    field_value(text, notation, replica.identity.colours[0], COLOUR_LENGTH)
    text_string(text, "," if json else " ")
    field_value(text, notation, replica.identity.colours[1], COLOUR_LENGTH)
    text_string(text, "]" if json else "")
    field_end(text, notation)


cdef inline void field_number(Text *text, int notation, const char *name, uint64_t number) noexcept nogil:
    field_begin(text, notation, name)
    text_number(text, number)
    field_end(text, notation)


cdef inline void field_moment(Text *text, int notation, const char *name, int64_t second) noexcept nogil:
    """As in RFC 3339, UTC."""
    cdef char stamp[STAMP_LENGTH + 1]
    memcpy(stamp, "....-..-..T..:..:..Z", sizeof(stamp))
    stamp_render(stamp, second)
    field_text(text, notation, name, stamp, sizeof(stamp))
