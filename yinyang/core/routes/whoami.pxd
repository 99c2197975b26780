"""`/whoami`: what a replica tells of itself, for whoever counts replicas.

The same fields three times: as JSON, or as plain text (`?format=text`, or Accept lists text/plain), and as headers. It
ends its connection, so that the next sample may land elsewhere; `?keep=1` keeps it.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memcmp, strlen

from ..http.parser cimport FLAG_TEXT_PLAIN, Parser, TARGET_KEPT
from ..http.responses cimport response_begin, response_end
from ..identity.identity cimport Identity
from ..identity.replica cimport ABOUTS, Replica
from ..os.atomic cimport atomic_get_u32
from ..shared.scoreboard cimport PHASE_SERVING, Scoreboard, scoreboard_counts
from ..text.buffer cimport Text, llu, string_at, text_format, text_open
from ..text.calendar cimport stamp_render

cdef enum:
    WHOAMI_MAX = 3072  # bytes of the body: five texts, three bytes for each of theirs, and some hundred more

cdef struct Asked:  # what changes, as it is when somebody asks
    uint64_t requests
    uint64_t pages
    bint draining
    char started[32]


cdef inline bint query_has(const Parser *f, const uint8_t *target, const char *wanted) noexcept nogil:
    """Is this one of the parameters of a query, which are divided by &? Only what is kept of a target is read."""
    cdef size_t length = strlen(wanted)
    cdef size_t begin = f.path_end + 1
    cdef size_t end
    cdef size_t all_ = min(<size_t>f.target_length, <size_t>TARGET_KEPT)
    while begin < all_:
        end = begin
        while end < all_ and target[end] != b'&':
            end += 1
        if end - begin == length and memcmp(target + begin, wanted, length) == 0:
            return True
        begin = end + 1
    return False


cdef inline bint whoami_keeps(const Parser *f, const uint8_t *target) noexcept nogil:
    """May another request follow, as far as this one is asked?"""
    return query_has(f, target, "keep=1")


cdef inline void whoami_render(Text *text, const Parser *f, const uint8_t *target, bint keep_alive, int64_t second,
                               const Replica *replica, const Scoreboard *scoreboard, uint32_t requests) noexcept nogil:
    """`requests` that this connection has had, this one included."""
    cdef char bytes[WHOAMI_MAX]
    cdef Text body
    cdef Asked asked
    cdef const char *type_ = "text/plain; charset=utf-8"
    asked.requests = requests
    asked.pages = scoreboard_counts(scoreboard).pages
    asked.draining = atomic_get_u32(&scoreboard.phase) != PHASE_SERVING
    text_open(&body, asked.started, sizeof(asked.started))
    stamp_render(&body, "%llu-%02llu-%02lluT%02llu:%02llu:%02lluZ", scoreboard.started)  # as in RFC 3339, UTC
    asked.started[body.length] = 0
    text_open(&body, bytes, WHOAMI_MAX)
    if f.flags & FLAG_TEXT_PLAIN or query_has(f, target, "format=text"):
        whoami_fields(&body, (
            "host: %s\nshort: %s\ncolour: %s\ncolours: %s %s\n\0"
            "version: %s\n\0node: %s\n\0namespace: %s\n\0zone: %s\n\0"
            "requests: %llu\npages: %llu\nstarted: %s\ndraining: %s\n"), replica, &asked)
    else:
        type_ = "application/json"
        whoami_fields(&body, (
            '{"host":%-s,"short":%-s,"colour":"%s","colours":["%s","%s"]\0'
            ',"version":%-s\0,"node":%-s\0,"namespace":%-s\0,"zone":%-s\0'
            ',"requests":%llu,"pages":%llu,"started":"%s","draining":%s}\n'), replica, &asked)
    response_begin(text, f, 200, second, type_, &body)
    whoami_fields(text, (
        "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: *\r\n"
        "X-Served-By: %s\r\nX-Short: %s\r\nX-Colour: %s\r\nX-Colours: %s %s\r\n\0"
        "X-Version: %s\r\n\0X-Node: %s\r\n\0X-Namespace: %s\r\n\0X-Zone: %s\r\n\0"
        "X-Requests: %llu\r\nX-Pages: %llu\r\nX-Started: %s\r\nX-Draining: %s\r\n"), replica, &asked)
    response_end(text, f, keep_alive, &body)


cdef inline void whoami_fields(Text *text, const char *templates, const Replica *replica,
                               const Asked *asked) noexcept nogil:
    """By templates, each of which ends with a NUL: for what is always told first, for each thing that may be told, and
    for what is told last."""
    cdef const Identity *identity = &replica.identity
    cdef int i
    text_format(text, templates, identity.name, identity.short, identity.colours[0], identity.colours[0],
                identity.colours[1])
    for i in range(ABOUTS):
        if replica.about[i] != NULL:
            text_format(text, string_at(templates, 1 + i), replica.about[i])
    text_format(text, string_at(templates, 1 + ABOUTS), <llu>asked.requests, <llu>asked.pages, asked.started,
                "true" if asked.draining else "false")
