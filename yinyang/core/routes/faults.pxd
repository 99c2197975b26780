"""Answers that are errors, late or costly on purpose: a share of all of them, as --error-rate and similar options say,
or one that a request asks for.

`?fail=20&code=503&latency=300ms&if=v2` asks for an answer after 300 ms, and for an error in 20 % of the requests that
ask so, where v2 is this replica's version, zone or name. It harms nobody else.
"""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy, strcmp

from ..http.parser cimport Parser, SLASH, TARGET_KEPT, target_kept
from ..http.responses cimport FAULTS, ROUTE_BURN, ROUTE_DELAY, ROUTE_PAGE, routes
from ..identity.replica cimport ABOUT_VERSION, ABOUT_ZONE, Replica
from ..shared.fault_settings cimport (
    FaultSettings, PERCENT_MAX, STATUS_MAX, STATUS_MIN, fault_settings_unpack, faults_are_set
)
from ..shared.scoreboard cimport Scoreboard, scoreboard_faults
from ..text.buffer cimport number_parse
from ..text.duration cimport duration_parse, span_parse
from .refresh cimport EVERY_WRONG, every_asked
from .request cimport Request, request_value

cdef extern from "fault_order.h" nogil:
    const uint8_t fault_order[100]

cdef extern from "option_table.h" nogil:
    enum:
        LATENCY_MAX
        BURN_MAX

cdef enum:
    FAULT_CODE = 503  # unless the request asks for another one
    VALUE_MAX = 256  # bytes

cdef enum Asked:  # what a request asks for, where it is no status
    ASKED_NOTHING
    ASKED_WRONG_RATE
    ASKED_WRONG_CODE
    ASKED_TOO_LONG  # its target is not kept whole
    ASKED_WRONG_LATENCY
    ASKED_IN_VAIN  # --faults is off
    ASKED_WRONG_EVERY  # which is no fault (routes/refresh.pxd)
    ASKED_END

cdef struct Faults:  # of a worker
    uint8_t turn  # number of answers so far, modulo 100
    uint8_t late_turn  # likewise, of the late ones
    uint8_t asked_turns[101]  # likewise, of the requests that ask for faults; for each rate

cdef struct Lateness:
    int delay  # ms
    int burn  # ms of CPU time


cdef inline bint may_be_faulty(int route, const Parser *p, const Replica *replica,
                               const Scoreboard *scoreboard) noexcept nogil:
    """Whether a request may get an error or be answered late; most requests may not."""
    if not routes[route].flags & FAULTS or replica.plain:
        return False
    return (p.path_end < p.target_length or route == ROUTE_DELAY or route == ROUTE_BURN
            or faults_are_set(scoreboard_faults(scoreboard)))


cdef inline int fault_of(Faults *faults, int route, const Request *request) noexcept nogil:
    """The status of the fault that takes the place of the answer, or what is wrong with what the request asks for
    (enum Asked); ASKED_NOTHING if the answer is as always. For requests that may be faulty."""
    cdef FaultSettings settings
    cdef int asked = ASKED_NOTHING
    if may_ask(request):
        asked = fault_asked(faults, request)
    if asked == ASKED_NOTHING and route == ROUTE_PAGE and every_asked(request) == EVERY_WRONG:
        asked = ASKED_WRONG_EVERY
    fault_settings_unpack(&settings, scoreboard_faults(request.scoreboard))
    if asked == ASKED_NOTHING and settings.rate and route != ROUTE_DELAY and route != ROUTE_BURN:
        asked = settings.code if fault_turn(&faults.turn, settings.rate) else ASKED_NOTHING
    return asked


cdef inline void faults_next_late(Faults *faults) noexcept nogil:
    """A response that may be late has begun to wait, or is sent."""
    faults.late_turn = <uint8_t>((faults.late_turn + 1) % PERCENT_MAX)


cdef inline bint lateness_of(Lateness *lateness, uint8_t turn, int route, const Request *request) noexcept nogil:
    """How late the answer is due, and what it costs; False if it is due at once. What the request asks for takes the
    place of the settings. For requests that may be faulty."""
    cdef FaultSettings settings
    cdef int low, high
    fault_settings_unpack(&settings, scoreboard_faults(request.scoreboard))
    low = settings.latency_low
    high = settings.latency_high
    lateness.burn = settings.burn
    if route == ROUTE_DELAY or route == ROUTE_BURN:
        low = high = lateness.burn = 0
    if request.replica.faults_on_request:
        if route == ROUTE_DELAY:
            low = high = max(time_in_path(request, LATENCY_MAX), 0)
        elif route == ROUTE_BURN:
            lateness.burn = max(time_in_path(request, BURN_MAX), 0)
        if may_ask(request):
            latency_asked(request, &low, &high)
    lateness.delay = low
    if low < high:
        lateness.delay += (high - low) * fault_order[turn] // (PERCENT_MAX - 1)
    return lateness.delay != 0 or lateness.burn != 0


cdef inline int time_in_path(const Request *request, int most) noexcept nogil:
    """The ms that the last segment of the path says, which may end in a slash; -1 if that is no time of at most `most`
    ms."""
    cdef char value[VALUE_MAX + 1]
    cdef const char *pos = value
    cdef size_t begin = request.parser.path + 1
    cdef size_t end = min(<size_t>request.parser.path_end, <size_t>TARGET_KEPT)
    cdef size_t length
    cdef int64_t ms
    while begin < end and request.target[begin] != SLASH:
        begin += 1
    begin += 1
    if begin >= end:
        return -1
    length = end - begin
    memcpy(value, request.target + begin, length)
    value[length] = 0
    ms = duration_parse(&pos)
    pos += pos[0] == b'/'
    return <int>ms if pos[0] == 0 and 0 <= ms <= most else -1


cdef inline bint latency_asked(const Request *request, int *low, int *high) noexcept nogil:
    """Whether the query asks for a latency that is not valid; else the latency, if it does, is written."""
    cdef char value[VALUE_MAX]
    cdef int first = 0, last = 0
    if not request_value(request, "latency", value, VALUE_MAX):
        return False
    if not span_parse(value, LATENCY_MAX, &first, &last):
        return True
    if request.parser.target_length <= TARGET_KEPT and is_asked_here(request):
        low[0] = first
        high[0] = last
    return False


cdef inline bint is_asked_here(const Request *request) noexcept nogil:
    """Whether the faults that the query asks for are meant for this replica."""
    cdef char value[VALUE_MAX]
    return not request_value(request, "if", value, VALUE_MAX) or is_meant(request.replica, value)


cdef inline bint fault_turn(uint8_t *turn, int rate) noexcept nogil:
    """Whether this one of 100 is a fault."""
    cdef bint due = fault_order[turn[0]] < rate
    turn[0] = <uint8_t>((turn[0] + 1) % PERCENT_MAX)
    return due


cdef inline bint may_ask(const Request *request) noexcept nogil:
    """Whether the query has a parameter that begins as those of fault_asked do."""
    cdef size_t kept = target_kept(request.parser)
    cdef size_t pos
    for pos in range(<size_t>request.parser.path_end + 1, kept):
        if request.target[pos] == b'f' or request.target[pos] == b'l':
            if request.target[pos - 1] == b'?' or request.target[pos - 1] == b'&':
                return True
    return False


cdef inline int fault_asked(Faults *faults, const Request *request) noexcept nogil:
    """What the query asks for: a status or an enum Asked."""
    cdef char value[VALUE_MAX]
    cdef const char *pos = value
    cdef int code = FAULT_CODE
    cdef int64_t rate
    cdef int low = 0, high = 0
    if not request_value(request, "latency", value, VALUE_MAX) and not request_value(request, "fail", value, VALUE_MAX):
        return ASKED_NOTHING
    if not request.replica.faults_on_request:
        return ASKED_IN_VAIN
    if request.parser.target_length > TARGET_KEPT:
        return ASKED_TOO_LONG
    if latency_asked(request, &low, &high):
        return ASKED_WRONG_LATENCY
    if not request_value(request, "fail", value, VALUE_MAX):
        return ASKED_NOTHING
    rate = number_parse(&pos)
    if pos[0] == b'%':
        pos += 1
    if pos[0] or not 0 <= rate <= PERCENT_MAX:
        return ASKED_WRONG_RATE
    if request_value(request, "code", value, VALUE_MAX):
        code = code_parse(value)
        if code == 0:
            return ASKED_WRONG_CODE
    if not is_asked_here(request):
        return ASKED_NOTHING
    return code if fault_turn(&faults.asked_turns[rate], <int>rate) else ASKED_NOTHING


cdef inline int code_parse(const char *value) noexcept nogil:
    """The status that a fault may have; 0 if the value is none."""
    cdef int64_t code = number_parse(&value)
    return <int>code if value[0] == 0 and STATUS_MIN <= code <= STATUS_MAX else 0


cdef inline bint is_meant(const Replica *replica, const char *text) noexcept nogil:
    """Whether this is the replica's version, zone, name or short name."""
    return (strcmp(text, replica.identity.name) == 0 or strcmp(text, replica.identity.short) == 0
            or replica.about[ABOUT_VERSION] != NULL and strcmp(text, replica.about[ABOUT_VERSION]) == 0
            or replica.about[ABOUT_ZONE] != NULL and strcmp(text, replica.about[ABOUT_ZONE]) == 0)
