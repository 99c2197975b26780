"""The commands that change the replica: `/readyz/disable`, `/readyz/enable`, `/fault_injection/enable` and
`/fault_injection/disable`. The parent does what they ask for; here is what is checked and answered.
"""

from libc.stdint cimport int64_t

from ..config.config cimport share_parse
from ..http.parser cimport METHOD_POST, TARGET_KEPT
from ..http.responses cimport ROUTE_DISABLE, ROUTE_ENABLE, ROUTE_FAULTS_OFF, ROUTE_FAULTS_ON
from ..shared.fault_settings cimport FaultSettings, fault_settings_unpack, faults_are_set
from ..shared.scoreboard cimport WorkerSlot, scoreboard_faults, slot_ask_faults, slot_ask_ready
from ..text.buffer cimport Text, llu, text_format, text_open
from ..text.duration cimport duration_parse, span_parse
from .faults cimport code_parse
from .request cimport Request, request_value, response_begin, response_end
from .status cimport words_render

cdef extern from "option_table.h" nogil:
    enum:
        LATENCY_MAX
        BURN_MAX

cdef enum:
    PARAMETER_MAX = 64  # bytes
    FAULTS_MAX = 128  # bytes of the answer of /fault_injection/status


cdef inline int control_render(Text *text, const Request *request, int route, WorkerSlot *slot) noexcept nogil:
    """202 if the worker's slot now asks the parent for the change; else what is wrong. A command states all faults, so
    that it does not matter what the parent has done about earlier ones: those that it does not name are as the options
    say."""
    cdef FaultSettings settings
    if request.parser.method != METHOD_POST:
        return words_render(text, request, 405, "this changes the replica, so it wants POST", "Allow: POST\r\n")
    if not request.replica.control:
        return words_render(text, request, 403, "to allow this, start with --control or YINYANG_CONTROL=on", "")
    if route == ROUTE_ENABLE or route == ROUTE_DISABLE:
        slot_ask_ready(slot, route == ROUTE_ENABLE)
        if route == ROUTE_ENABLE:
            return words_render(text, request, 202, "this replica is told to be ready again", "")
        return words_render(text, request, 202, "this replica is told not to be ready", "")
    fault_settings_unpack(&settings, request.scoreboard.notice.faults_of_options)
    if route == ROUTE_FAULTS_OFF:
        settings.rate = settings.latency_low = settings.latency_high = settings.burn = 0
    elif not faults_asked(&settings, request):
        return words_render(
            text, request, 400, "say which: one or more of rate=20%, code=503, latency=300ms (or 100ms..500ms) and "
            "burn=20ms, such as POST /fault_injection/enable?rate=20%&code=503", "")
    slot_ask_faults(slot, &settings)
    if route == ROUTE_FAULTS_OFF:
        return words_render(text, request, 202, "this replica is told to do without faults", "")
    return words_render(text, request, 202, "this replica is told which faults to have", "")


cdef inline bint faults_asked(FaultSettings *settings, const Request *request) noexcept nogil:
    """Take from the query what it says; False if that is nothing, and the options say nothing either, or not valid."""
    cdef char value[PARAMETER_MAX]
    cdef const char *pos = value
    cdef int64_t burn
    cdef bint asks = faults_are_set(request.scoreboard.notice.faults_of_options)
    if request.parser.target_length > TARGET_KEPT:
        return False
    if request_value(request, "rate", value, PARAMETER_MAX):
        asks = True
        settings.rate = share_parse(value)
        if settings.rate < 0:
            return False
    if request_value(request, "code", value, PARAMETER_MAX):
        asks = True
        settings.code = code_parse(value)
        if settings.code == 0:
            return False
    if request_value(request, "latency", value, PARAMETER_MAX):
        asks = True
        if not span_parse(value, LATENCY_MAX, &settings.latency_low, &settings.latency_high):
            return False
    if request_value(request, "burn", value, PARAMETER_MAX):
        asks = True
        burn = duration_parse(&pos)
        if pos[0] or not 0 <= burn <= BURN_MAX:
            return False
        settings.burn = <int>burn
    return asks


cdef inline int faults_render(Text *text, const Request *request) noexcept nogil:
    """`/fault_injection/status`: the faults as they are now, under the names of the parameters that set them."""
    cdef char bytes[FAULTS_MAX]
    cdef Text body
    cdef FaultSettings settings
    fault_settings_unpack(&settings, scoreboard_faults(request.scoreboard))
    text_open(&body, bytes, FAULTS_MAX)
    text_format(&body, '{"rate":"%llu', <llu>settings.rate)
    text_format(&body, '%s","code":%llu,"latency":"%llums', "%", <llu>settings.code, <llu>settings.latency_low)
    if settings.latency_low < settings.latency_high:
        text_format(&body, "..%llums", <llu>settings.latency_high)
    text_format(&body, '","burn":"%llums"}\n', <llu>settings.burn)
    response_begin(text, request, 200, "application/json", &body)
    response_end(text, request, &body)
    return 200
