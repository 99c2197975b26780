"""`/whoami`: the description of a replica, for clients that count replicas.

The fields are in the body, as JSON or as plain text (`?format=text`, or Accept prefers text/plain), and in the headers.
`?format=line` gives the most important ones on a line, `?format=ansi` with the colours of the replica, for terminals.
The response ends its connection, so that the next request may reach another replica; `?keep=1` keeps it.
"""

from libc.stdint cimport uint64_t, uint8_t

from ..http.parser cimport digit_value
from ..identity.identity cimport Identity
from ..identity.replica cimport ABOUTS, ABOUT_VERSION, ABOUT_ZONE, Replica
from ..shared.scoreboard cimport PHASE_SERVING, scoreboard_counts, scoreboard_phase, scoreboard_start_ms
from ..text.buffer cimport Text, llu, text_format, text_number, text_open, text_string
from ..text.calendar cimport stamp_render
from .request cimport Request, request_asks, request_prefers_text, response_begin, response_end

cdef extern from "routes.h" nogil:
    const char *ANY_ORIGIN

cdef extern from "whoami.h" nogil:
    struct Format "whoami_format":
        const char *identity
        const char *about[ABOUTS]
        const char *state
    const Format whoami_text
    const Format whoami_json
    const Format whoami_fields

cdef enum:
    WHOAMI_MAX = 3072  # bytes of the body: five texts, each byte of which becomes up to three, and some hundred more

cdef struct State:  # the current values of the fields that change
    uint64_t requests
    uint64_t pages
    uint64_t start_ms
    bint draining
    char started[32]


cdef inline int whoami_render(Text *text, const Request *request) noexcept nogil:
    cdef bint line = request_asks(request, "format=line")
    cdef bint ansi = request_asks(request, "format=ansi")
    cdef bint plain = line or ansi or request_prefers_text(request)
    cdef char bytes[WHOAMI_MAX]
    cdef Text body
    cdef State state
    whoami_state(&state, request)
    text_open(&body, bytes, WHOAMI_MAX)
    if line or ansi:
        whoami_line(&body, request.replica, ansi)
    else:
        text_string(&body, "" if plain else "{")
        whoami_body(&body, plain, request.replica, &state)
    response_begin(text, request, 200, "text/plain; charset=utf-8" if plain else "application/json", &body)
    text_string(text, ANY_ORIGIN)
    whoami_format(text, &whoami_fields, request.replica, &state)
    response_end(text, request, &body)
    return 200


cdef inline void whoami_line(Text *text, const Replica *replica, bint ansi) noexcept nogil:
    """The short name, and the version and zone that there are, on a line; behind both colours, for a terminal that has
    16 million of them (ECMA-48 and ISO 8613-6)."""
    cdef int i
    for i in range(2 if ansi else 0):
        text_string(text, "\x1b[38;2;")
        text_rgb(text, replica.identity.colours[i])
        text_string(text, "m\xe2\x96\x88\xe2\x96\x88")  # full blocks
    text_string(text, "\x1b[0m " if ansi else "")
    text_string(text, replica.identity.short)
    if replica.about[ABOUT_VERSION] != NULL:
        text_format(text, " %s", replica.about[ABOUT_VERSION])
    if replica.about[ABOUT_ZONE] != NULL:
        text_format(text, " %s", replica.about[ABOUT_ZONE])
    text_string(text, "\n")


cdef inline void text_rgb(Text *text, const char *colour) noexcept nogil:
    """Append #rrggbb as three decimal numbers."""
    cdef int i
    for i in range(3):
        text_string(text, ";" if i else "")
        text_number(text, digit_value(<uint8_t>colour[2 * i + 1]) << 4 | digit_value(<uint8_t>colour[2 * i + 2]))


cdef inline void whoami_state(State *state, const Request *request) noexcept nogil:
    cdef Text text
    state.requests = request.number
    state.pages = scoreboard_counts(request.scoreboard).pages
    state.start_ms = <uint64_t>scoreboard_start_ms(request.scoreboard)
    state.draining = scoreboard_phase(request.scoreboard) != PHASE_SERVING
    text_open(&text, state.started, sizeof(state.started) - 1)
    stamp_render(&text, "%llu-%02llu-%02lluT%02llu:%02llu:%02lluZ", request.scoreboard.notice.started)  # RFC 3339
    state.started[min(text.length, text.room)] = 0


cdef inline void whoami_body(Text *text, bint plain, const Replica *replica, const State *state) noexcept nogil:
    """Lines of plain text, or the members of a JSON object and its end."""
    whoami_format(text, &whoami_text if plain else &whoami_json, replica, state)


cdef inline void whoami_format(Text *text, const Format *format, const Replica *replica,
                               const State *state) noexcept nogil:
    cdef const Identity *identity = &replica.identity
    cdef int i
    text_format(text, format.identity, identity.name, identity.short, identity.colours[0], identity.colours[0],
                identity.colours[1])
    for i in range(ABOUTS):
        if replica.about[i] != NULL:
            text_format(text, format.about[i], replica.about[i])
    text_format(text, format.state, <llu>state.requests, <llu>state.pages, state.started,
                <llu>state.start_ms, "true" if state.draining else "false")
