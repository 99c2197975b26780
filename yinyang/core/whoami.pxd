"""`/whoami`: what a replica tells of itself, for whoever counts replicas.

The same fields three times: as JSON, or as plain text (`?format=text`, or Accept lists text/plain), and as headers. It
ends its connection, so that the next sample may land elsewhere; `?keep=1` keeps it.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, strlen

from .answers cimport fresh_begin, fresh_end
from .board cimport Board, PHASE_SERVE, board_counts
from .calendar cimport stamp_render
from .http1 cimport Framing, SEEN_TEXT_PLAIN, TARGET_KEPT
from .identity cimport COLOUR_LENGTH, Identity
from .replica cimport ABOUTS, Replica, short_name
from .text cimport Text, text_format, text_open, text_put, text_quoted_string, text_string

cdef extern from "atomic.h" nogil:
    uint32_t get "atomic_get"(const uint32_t *place)

cdef enum:
    WHOAMI_MOST = 3072  # bytes of the body: five texts, three bytes for each of theirs, and some hundred more


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
    cdef char plain_bytes[WHOAMI_MOST]
    cdef char json_bytes[WHOAMI_MOST]
    cdef Text plain, json
    cdef const Text *body = &plain
    cdef const char *type_ = "text/plain; charset=utf-8"
    text_open(&plain, plain_bytes, WHOAMI_MOST)
    whoami_lines(&plain, replica, board, requests)
    if f.seen & SEEN_TEXT_PLAIN == 0 and not query_has(f, target, "format=text"):
        text_open(&json, json_bytes, WHOAMI_MOST)
        json_of_lines(&json, &plain)
        body = &json
        type_ = "application/json"
    fresh_begin(text, f, keep, 200, second, type_, body)
    text_string(text, "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: *\r\n")
    head_of_lines(text, &plain)
    fresh_end(text, f, keep, body)


# ---- its fields, in plain text; and those lines in the other notations -----------------------------------------------

cdef inline void whoami_lines(Text *text, const Replica *replica, const Board *board,
                              uint32_t requests) noexcept nogil:
    """A name, `: ` and a value, which is printable, on each line."""
    cdef const Identity *identity = &replica.identity
    cdef const char *names = "version\0node\0namespace\0zone\0"  # in their order
    cdef const char *draining = "false" if get(&board.phase) == PHASE_SERVE else "true"
    cdef size_t length = 0
    cdef const char *short = short_name(identity, &length)
    cdef int i
    text_format(text, "host: %s\nshort: ", identity.name)
    text_put(text, short, length)
    text_format(text, "\ncolour: %s\ncolours: %s %s\n", identity.colours[0], identity.colours[0],
                identity.colours[1])
    for i in range(ABOUTS):
        if replica.about[i] != NULL:
            text_format(text, "%s: %s\n", names, replica.about[i])
        names += strlen(names) + 1
    text_format(text, "requests: %lu\npages: %lu\nstarted: ", <uint64_t>requests, board_counts(board).pages)
    stamp_render(text, "%lu-%02lu-%02luT%02lu:%02lu:%02luZ\n", board.started)  # as in RFC 3339, UTC
    text_format(text, "draining: %s\n", draining)


cdef inline size_t length_until(const char *at, char end) noexcept nogil:
    cdef size_t length = 0
    while at[length] != end:
        length += 1
    return length


cdef inline void head_of_lines(Text *text, const Text *lines) noexcept nogil:
    """As headers: the host is X-Served-By, the other names have X- and a capital."""
    cdef const char *at = lines.at
    cdef const char *end = at + lines.length
    cdef size_t length
    cdef char capital
    while at < end:
        if at == lines.at:
            text_string(text, "X-Served-By")
            at += length_until(at, b':')
        else:
            capital = at[0] & 0x5F
            text_string(text, "X-")
            text_put(text, &capital, 1)
            at += 1
        length = length_until(at, b'\n')
        text_put(text, at, length)
        text_string(text, "\r\n")
        at += length + 1


cdef inline void json_of_lines(Text *text, const Text *lines) noexcept nogil:
    cdef const char *at = lines.at
    cdef const char *end = at + lines.length
    cdef const char *name
    cdef size_t length
    cdef bint colours
    while at < end:
        text_string(text, '{"' if at == lines.at else ',"')
        name = at
        length = length_until(at, b':')
        colours = length == 7 and name[6] == b's'
        text_put(text, name, length)
        text_string(text, '":')
        at += length + 2
        length = length_until(at, b'\n')
        if name[0] == b'r' or name[0] == b'p' or name[0] == b'd':  # requests, pages, draining: no strings
            text_put(text, at, length)
        elif colours:
            text_string(text, '["')
            text_put(text, at, COLOUR_LENGTH)
            text_string(text, '","')
            text_put(text, at + length - COLOUR_LENGTH, COLOUR_LENGTH)
            text_string(text, '"]')
        else:
            text_quoted_string(text, at, length)
        at += length + 1
    text_string(text, "}\n")
