"""Answers that are errors on purpose: a share of all of them (--error-rate), or one that a request asks for.

`?fail=20&code=503&if=v2` asks for an error in 20 % of the requests that ask so, where v2 is this replica's version,
zone or name. It harms nobody else.
"""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport strcmp

from ..config.config cimport Config
from ..http.parser cimport TARGET_KEPT, target_kept
from ..http.responses cimport FAULTS, routes
from ..identity.replica cimport ABOUT_VERSION, ABOUT_ZONE, Replica
from ..text.buffer cimport number_parse
from .request cimport Request, request_value

cdef extern from "fault_order.h" nogil:
    const uint8_t fault_order[100]

cdef extern from "option_table.h" nogil:
    enum:
        OPTION_ERROR_CODE
        OPTION_ERROR_RATE
        OPTION_FAULTS
        OPTION_PLAIN

cdef enum:
    PERCENT_MAX = 100
    STATUS_MIN = 200
    STATUS_MAX = 599
    FAULT_CODE = 503  # unless the request asks for another one
    VALUE_MAX = 256  # bytes

cdef enum Asked:  # what a request asks for, where it is no status
    ASKED_NOTHING
    ASKED_WRONG_RATE
    ASKED_WRONG_CODE
    ASKED_TOO_LONG  # its target is not kept whole
    ASKED_LATENCY
    ASKED_IN_VAIN  # --faults is off
    ASKED_END

cdef struct Faults:  # of a worker
    int rate  # percent
    int code
    bint on_request
    uint8_t turn  # number of answers so far, modulo 100
    uint8_t asked_turns[101]  # likewise, of the requests that ask for faults; for each rate


cdef inline void faults_set(Faults *faults, const Config *config) noexcept nogil:
    faults.rate = config.numbers[OPTION_ERROR_RATE]
    faults.code = config.numbers[OPTION_ERROR_CODE]
    faults.on_request = config.numbers[OPTION_FAULTS] == 0  # the first of its words


cdef inline int fault_of(Faults *faults, int route, const Request *request) noexcept nogil:
    """The status of the fault that takes the place of the answer, or what is wrong with what the request asks for
    (enum Asked); ASKED_NOTHING if the answer is as always."""
    cdef int asked = ASKED_NOTHING
    if not routes[route].flags & FAULTS or request.replica.plain:
        return ASKED_NOTHING
    if request.parser.path_end < request.parser.target_length and may_ask(request):
        asked = fault_asked(faults, request)
    if asked == ASKED_NOTHING and faults.rate:
        asked = faults.code if fault_turn(&faults.turn, faults.rate) else ASKED_NOTHING
    return asked


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
    cdef bint late = request_value(request, "latency", value, VALUE_MAX)
    cdef int64_t code = FAULT_CODE
    cdef int64_t rate
    if not request_value(request, "fail", value, VALUE_MAX) and not late:
        return ASKED_NOTHING
    if not faults.on_request:
        return ASKED_IN_VAIN
    if request.parser.target_length > TARGET_KEPT:
        return ASKED_TOO_LONG
    if late:
        return ASKED_LATENCY
    rate = number_parse(&pos)
    if pos[0] == b'%':
        pos += 1
    if pos[0] or not 0 <= rate <= PERCENT_MAX:
        return ASKED_WRONG_RATE
    if request_value(request, "code", value, VALUE_MAX):
        pos = value
        code = number_parse(&pos)
        if pos[0] or not STATUS_MIN <= code <= STATUS_MAX:
            return ASKED_WRONG_CODE
    if request_value(request, "if", value, VALUE_MAX) and not is_meant(request.replica, value):
        return ASKED_NOTHING
    return <int>code if fault_turn(&faults.asked_turns[rate], <int>rate) else ASKED_NOTHING


cdef inline bint is_meant(const Replica *replica, const char *text) noexcept nogil:
    """Whether this is the replica's version, zone, name or short name."""
    return (strcmp(text, replica.identity.name) == 0 or strcmp(text, replica.identity.short) == 0
            or replica.about[ABOUT_VERSION] != NULL and strcmp(text, replica.about[ABOUT_VERSION]) == 0
            or replica.about[ABOUT_ZONE] != NULL and strcmp(text, replica.about[ABOUT_ZONE]) == 0)
