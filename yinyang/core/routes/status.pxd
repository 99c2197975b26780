"""`/status/{code}`: any status from 200 to 599, with the identity of this replica. Faults are answered likewise."""

from libc.stdint cimport uint8_t
from libc.string cimport strlen

from ..http.parser cimport BYTE_DIGIT, Parser, SLASH, ZERO, byte_roles
from ..http.responses cimport reason_of
from ..text.buffer cimport Text, llu, text_format, text_open, text_string
from ..shared.fault_settings cimport STATUS_MAX, STATUS_MIN
from .faults cimport (
    ASKED_END, ASKED_TOO_LONG, ASKED_WRONG_CODE, ASKED_WRONG_EVERY, ASKED_WRONG_LATENCY,
    ASKED_WRONG_RATE
)
from .request cimport Request, request_prefers_text, response_begin, response_end
from .whoami cimport State, WHOAMI_MAX, whoami_body, whoami_fields, whoami_format, whoami_state


cdef extern from *:
    """
    #define FAULTS_ARE_OFF "faults on request are off here (--faults)"
    #define CODE_WORDS "code= is a status from 200 to 599, such as code=503"
    #define LATENCY_WORDS \
        "latency= is a time from 0 to 10 s, or two, such as latency=300ms or latency=100ms..500ms"
    #define LONG_WORDS "a target that asks for a fault has at most 256 bytes"
    """
    const char *FAULTS_ARE_OFF
    const char *CODE_WORDS
    const char *LATENCY_WORDS
    const char *LONG_WORDS


cdef inline int status_render(Text *text, const Request *request) noexcept nogil:
    cdef int code = status_asked(request.parser, request.target)
    if not request.replica.faults_on_request:
        return words_render(text, request, 403, FAULTS_ARE_OFF, "")
    if code == 0:
        return words_render(text, request, 400, "a status from 200 to 599 follows /status/, such as /status/503", "")
    return identity_render(text, request, code, "")


cdef inline int fault_render(Text *text, const Request *request, int fault, const char *fields) noexcept nogil:
    """The answer to a request for which fault_of gives this, with these header fields."""
    if fault >= ASKED_END:
        return identity_render(text, request, fault, fields)
    if fault == ASKED_WRONG_RATE:
        return words_render(text, request, 400, "fail= is a share in percent, from 0 to 100, such as fail=20", fields)
    if fault == ASKED_WRONG_CODE:
        return words_render(text, request, 400, CODE_WORDS, fields)
    if fault == ASKED_WRONG_LATENCY:
        return words_render(text, request, 400, LATENCY_WORDS, fields)
    if fault == ASKED_TOO_LONG:
        return words_render(text, request, 400, LONG_WORDS, fields)
    if fault == ASKED_WRONG_EVERY:
        return words_render(text, request, 400, "every= is a number of seconds from 1 to 3600, such as every=2, in a "
                            "target of at most 256 bytes", fields)
    return words_render(text, request, 403, FAULTS_ARE_OFF, fields)


cdef inline int status_asked(const Parser *p, const uint8_t *target) noexcept nogil:
    """The status that the path names behind /status/, which may end in a slash; 0 if it names none."""
    cdef const uint8_t *pos = target + p.path + strlen("/status")
    cdef const uint8_t *end = target + p.path_end
    cdef int code = 0
    cdef int i
    if end - pos > 1 and (end - 1)[0] == SLASH:
        end -= 1
    if end - pos != 4:
        return 0
    for i in range(1, 4):
        if not byte_roles[pos[i]] & BYTE_DIGIT:
            return 0
        code = code * 10 + pos[i] - ZERO
    return code if STATUS_MIN <= code <= STATUS_MAX else 0


cdef inline int identity_render(Text *text, const Request *request, int code, const char *fields) noexcept nogil:
    """A response with this status, these header fields and the identity. Three statuses have no content (RFC 9110
    sections 15.3.5, 15.3.6 and 15.4.5), and of these only Reset Content has a length of it, 0."""
    cdef bint plain = request_prefers_text(request)
    cdef bint without_length = code == 204 or code == 304
    cdef char bytes[WHOAMI_MAX]
    cdef Text body
    cdef State state
    whoami_state(&state, request)
    text_open(&body, bytes, WHOAMI_MAX)
    if code != 205:
        text_format(&body, "status: %llu\n" if plain else '{"status":%llu,', <llu>code)
        whoami_body(&body, plain, request.replica, &state)
    response_begin(text, request, code, "text/plain; charset=utf-8" if plain else "application/json",
                   NULL if without_length else &body)
    text_string(text, fields)
    whoami_format(text, &whoami_fields, request.replica, &state)
    response_end(text, request, NULL if without_length else &body)
    return code


cdef inline int words_render(Text *text, const Request *request, int code, const char *words,
                             const char *fields) noexcept nogil:
    """A response with this status, one line of text, and these header fields."""
    cdef char bytes[WHOAMI_MAX]
    cdef Text body
    text_open(&body, bytes, WHOAMI_MAX)
    text_format(&body, "%llu %s: %s\n", <llu>code, reason_of(code), words)
    response_begin(text, request, code, "text/plain; charset=utf-8", &body)
    text_string(text, fields)
    response_end(text, request, &body)
    return code
