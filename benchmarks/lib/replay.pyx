"""Requests without a connection, for instructions.py: bytes are parsed and routed, and rendered responses are rendered,
as a worker does."""

from libc.stdint cimport uint8_t
from libc.string cimport memset

from yinyang.core.http.parser cimport (
    OUTCOME_ERROR, OUTCOME_READY, OUTCOME_TARGET, Parser, Target, parser_feed, parser_next, parser_read_accept,
    target_begin
)
from yinyang.core.http.responses cimport READS_ACCEPT, RENDERED, routes
from yinyang.core.http.send_queue cimport RENDERED_MAX
from yinyang.core.identity.identity cimport identity_set
from yinyang.core.identity.replica cimport Replica
from yinyang.core.routes.request cimport Request
from yinyang.core.routes.table cimport route_for, route_render
from yinyang.core.shared.scoreboard cimport Scoreboard, scoreboard_note_up, scoreboard_open, scoreboard_slot
from yinyang.core.text.buffer cimport Text, text_open


cdef public long replay(const uint8_t *data, size_t size, long times) noexcept nogil:
    """Take the same segment many times, each time as far as it is valid; the number of requests that ended in it, or -1
    if there is no memory. All of a target must be in the segment."""
    cdef Parser parser
    cdef Target target
    cdef Replica replica
    cdef Scoreboard scoreboard
    cdef Request request
    cdef Text text
    cdef char rendered[RENDERED_MAX]
    cdef const uint8_t *pos
    cdef long found = 0
    cdef int route = 0
    cdef int outcome
    memset(&parser, 0, sizeof(parser))
    memset(&replica, 0, sizeof(replica))
    memset(&request, 0, sizeof(request))
    identity_set(&replica.identity, "web-7d4b9c6f5-x2x9z", 19, 0)
    if not scoreboard_open(&scoreboard, 1, NULL):
        return -1
    scoreboard_note_up(&scoreboard)
    request.parser = &parser
    request.replica = &replica
    request.scoreboard = &scoreboard
    while times > 0:
        times -= 1
        pos = data
        outcome = OUTCOME_READY
        target_begin(&parser, &target)
        while outcome == OUTCOME_READY or outcome == OUTCOME_TARGET:
            outcome = parser_feed(&parser, &pos, data + size, &target)
            if outcome == OUTCOME_TARGET:
                route = route_for(&parser, target.bytes, False)
                if routes[route].flags & READS_ACCEPT:
                    parser_read_accept(&parser)
            elif outcome == OUTCOME_READY and routes[route].kind == RENDERED:
                text_open(&text, rendered, RENDERED_MAX)
                request.target = target.bytes
                route_render(route, &text, &request, scoreboard_slot(&scoreboard, 0))
            if outcome == OUTCOME_READY or outcome == OUTCOME_ERROR:
                found += 1
                parser_next(&parser)
    return found
