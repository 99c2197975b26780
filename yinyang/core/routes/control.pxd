"""The commands that change the replica: `/readyz/disable`, `/readyz/enable`, `/fault_injection/enable` and
`/fault_injection/disable`. The parent does what they ask for; here is what is checked and answered.
"""

from libc.stdint cimport int64_t
from libc.string cimport memcmp, strlen

from ..config.config cimport share_parse
from ..http.parser cimport METHOD_GET, METHOD_HEAD, METHOD_POST, TARGET_KEPT, target_kept
from ..http.responses cimport ROUTE_DISABLE, ROUTE_ENABLE, ROUTE_FAULTS_OFF
from ..shared.fault_settings cimport FaultSettings, fault_settings_unpack, faults_are_set
from ..shared.scoreboard cimport WorkerSlot, scoreboard_faults, slot_ask_faults, slot_ask_ready
from ..text.buffer cimport Text, llu, text_format, text_open
from ..text.duration cimport duration_parse, span_parse
from .faults cimport code_parse
from .request cimport Request, request_value, response_begin, response_end
from .status cimport CODE_WORDS, LATENCY_WORDS, LONG_WORDS, words_render

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
    cdef const char *wrong
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
    else:
        wrong = faults_asked(&settings, request)
        if wrong != NULL:
            return words_render(text, request, 400, wrong, "")
    slot_ask_faults(slot, &settings)
    if route == ROUTE_FAULTS_OFF:
        return words_render(text, request, 202, "this replica is told to do without faults", "")
    return words_render(text, request, 202, "this replica is told which faults to have", "")


cdef inline const char *faults_asked(FaultSettings *settings, const Request *request) noexcept nogil:
    """Take from the query what it says; NULL, or what is wrong with it. With no parameter, the faults are those of the
    options, which have to say some then."""
    cdef char value[PARAMETER_MAX]
    cdef const char *pos = value
    cdef int64_t burn
    cdef bint asks = False
    if request.parser.target_length > TARGET_KEPT:
        return LONG_WORDS
    if request_value(request, "rate", value, PARAMETER_MAX):
        asks = True
        settings.rate = share_parse(value)
        if settings.rate < 0:
            return "rate= is a share from 0% to 100%, such as rate=20% or rate=0.2"
    if request_value(request, "code", value, PARAMETER_MAX):
        settings.code = code_parse(value)
        if settings.code == 0:
            return CODE_WORDS
        if not asks and settings.rate == 0:
            return "code= is of no effect without a share, such as rate=20%&code=503"
        asks = True
    if request_value(request, "latency", value, PARAMETER_MAX):
        asks = True
        if not span_parse(value, LATENCY_MAX, &settings.latency_low, &settings.latency_high):
            return LATENCY_WORDS
    if request_value(request, "burn", value, PARAMETER_MAX):
        asks = True
        burn = duration_parse(&pos)
        if pos[0] or not 0 <= burn <= BURN_MAX:
            return "burn= is CPU time from 0 to 1 s, such as burn=20ms"
        settings.burn = <int>burn
    if has_unknown_parameter(request) or not asks and not faults_are_set(request.scoreboard.notice.faults_of_options):
        return ("say which: one or more of rate=20%, code=503, latency=300ms (or 100ms..500ms) and burn=20ms, and "
                "nothing else, such as POST /fault_injection/enable?rate=20%&code=503")
    return NULL


cdef inline bint has_unknown_parameter(const Request *request) noexcept nogil:
    """Whether the query has a parameter that faults_asked does not know. One like `if=`, which a request for a single
    fault may have, must not seem to be heard."""
    cdef const char **known = ["rate=", "code=", "latency=", "burn="]
    cdef size_t begin = request.parser.path_end + 1
    cdef size_t kept = target_kept(request.parser)
    cdef size_t length
    cdef int i
    while begin < kept:
        i = 0
        while i < 4:
            length = strlen(known[i])
            if begin + length <= kept and memcmp(request.target + begin, known[i], length) == 0:
                break
            i += 1
        if i == 4 and request.target[begin] != b'&':
            return True
        while begin < kept and request.target[begin] != b'&':
            begin += 1
        begin += 1
    return False


cdef inline int faults_render(Text *text, const Request *request) noexcept nogil:
    """`/fault_injection/status`: the faults as they are now, under the names of the parameters that set them."""
    cdef char bytes[FAULTS_MAX]
    cdef Text body
    cdef FaultSettings settings
    if request.parser.method != METHOD_GET and request.parser.method != METHOD_HEAD:
        return words_render(text, request, 405, "this shows the faults, so it wants GET; POST /fault_injection/enable "
                            "and /fault_injection/disable change them", "Allow: GET, HEAD\r\n")
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
