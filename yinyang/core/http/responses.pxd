"""The prebuilt responses: each is rendered before the first request, and a frequent one several times in a row.

A run of equal responses to pipelined requests is sent straight from these copies. Only the Date of each changes, once a
second. Each response has a number of one byte (csrc/routes.h), so a list of numbers describes the unsent responses.
"""

from libc.stdint cimport int64_t, uint32_t, uint8_t
from libc.string cimport memcpy

from ..os.syscalls cimport ENOMEM, MAP_PRIVATE, map_memory, munmap
from ..text.buffer cimport Text, llu, text_format, text_open, text_put, text_string
from ..text.calendar cimport HTTP_DATE_LENGTH, http_date_render
from .parser cimport ERROR_COUNT, ERROR_METHOD_REFUSED, METHOD_HEAD, Parser, http_errors

cdef extern from "messages.h" nogil:
    struct Message "message":
        int code
        const char *text
    const Message statuses[1]
    enum:
        STATUS_200
        STATUS_COUNT
        STATUS_2
    int status_of(int code)
    const char *reason_of(int code)

cdef extern from "routes.h" nogil:
    const char *NO_CACHE  # the field
    enum:
        PREBUILT
        RENDERED
        KEEPS
        ENDS
        LATE_ROUTES
        ENDS_UNLESS_ASKED
        ECHOES
        FAULTS
        LOGGED
        PLAIN
        READS_ACCEPT
        ROUTE_BURN
        ROUTE_DELAY
        ROUTE_DISABLE
        ROUTE_ENABLE
        ROUTE_ERROR
        ROUTE_FAULTS_OFF
        ROUTE_FAULTS_ON
        ROUTE_WHOAMI
        ROUTE_PAGE
        ROUTE_COUNT
        VARIANT_KEEP_ALIVE
        VARIANT_CLOSE
        VARIANT_1_0_CLOSE
        VARIANT_1_0_KEEP_ALIVE
        RESPONSE_RENDERED
        RESPONSE_COUNT
    struct Route "route":
        const char *label
        const char *fields
        unsigned int codes
        uint8_t kind
        uint8_t variants
        uint8_t end
        uint8_t flags
        uint8_t response
    const Route routes[ROUTE_COUNT]
    int route_of(const uint8_t *path, size_t length, bint asks_options, bint plain)

cdef enum:
    PAGE_COPIES = 32
    ERROR_BODY_MAX = 256  # bytes

cdef struct Response:
    uint32_t start  # offset in the bytes
    uint32_t length
    uint32_t date  # offset of its Date in the response
    uint32_t copies  # in a row; 0 if it is not prebuilt

cdef struct Responses:
    char *bytes
    size_t size
    int64_t second  # of the Dates
    Response table[RESPONSE_COUNT]


cdef inline int responses_allocate(Responses *responses, size_t size) noexcept nogil:
    """Memory for all prebuilt responses. 0 or -errno."""
    responses.bytes = <char *>map_memory(size, MAP_PRIVATE)
    responses.size = size
    responses.second = -1
    return -ENOMEM if responses.bytes == NULL else 0


cdef inline void responses_close(Responses *responses) noexcept nogil:
    if responses.bytes != NULL:
        munmap(responses.bytes, responses.size)
        responses.bytes = NULL


cdef inline void response_begin_prebuilt(Responses *responses, Text *text, int number, int code, int variant,
                                         const char *fields, size_t length) noexcept nogil:
    """The head of a response whose body has `length` bytes. Its Date is filled in later."""
    cdef Response *response = &responses.table[number]
    response.start = <uint32_t>text.length
    response.copies = 1
    text_format(text, "HTTP/1.%llu %llu %s\r\nDate: ", <llu>(variant < VARIANT_1_0_CLOSE), <llu>code,
                statuses[status_of(code)].text)
    response.date = <uint32_t>text.length - response.start
    text_format(text, "Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: %llu\r\n%s", <llu>length, fields)
    head_end(text, variant)


cdef inline void response_end_prebuilt(Responses *responses, Text *text, int number, int head,
                                       size_t length) noexcept nogil:
    """The body is complete. The response to HEAD, number `head`, is the beginning of the same bytes."""
    cdef Response *response = &responses.table[number]
    response.length = <uint32_t>text.length - response.start
    responses.table[head] = response[0]
    responses.table[head].length -= <uint32_t>length


cdef inline void response_repeat(Responses *responses, Text *text, int number, uint32_t copies) noexcept nogil:
    """Append copies of the response, which is complete."""
    cdef Response *response = &responses.table[number]
    cdef const char *first = text.data + response.start if text.data != NULL else NULL
    response.copies = copies
    while copies > 1:
        text_put(text, first, response.length)
        copies -= 1


cdef inline void response_prebuild_error(Responses *responses, Text *text, int error) noexcept nogil:
    """The response to an invalid request, which ends the connection."""
    cdef int code = http_errors[error].status
    cdef int number = routes[ROUTE_ERROR].response + error
    cdef const char *fields = routes[ROUTE_ERROR].fields
    cdef char bytes[ERROR_BODY_MAX]
    cdef Text body
    if error == ERROR_METHOD_REFUSED:
        fields = ("Content-Type: text/plain; charset=utf-8\r\n"
                  "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n")
    text_open(&body, bytes, ERROR_BODY_MAX)
    text_format(&body, "%llu %s: %s\n", <llu>code, statuses[status_of(code)].text, http_errors[error].message)
    response_begin_prebuilt(responses, text, number, code, VARIANT_CLOSE, fields, body.length)
    text_put(text, bytes, body.length)
    response_end_prebuilt(responses, text, number, number + ERROR_COUNT, body.length)


cdef inline void head_end(Text *text, int variant) noexcept nogil:
    if variant == VARIANT_CLOSE:
        text_string(text, "Connection: close\r\n")
    elif variant == VARIANT_1_0_KEEP_ALIVE:
        text_string(text, "Connection: keep-alive\r\n")
    text_string(text, "\r\n")


cdef inline void responses_set_date(Responses *responses, int64_t second) noexcept nogil:
    """Set the Date of all responses."""
    cdef char date[HTTP_DATE_LENGTH + 1]
    cdef const Response *response
    cdef char *pos
    cdef char *end
    cdef uint32_t i
    if responses.second == second:
        return
    responses.second = second
    http_date_render(date, second)
    for i in range(<uint32_t>RESPONSE_COUNT):
        response = &responses.table[i]
        pos = responses.bytes + response.start
        end = pos + response.copies * response.length
        while pos != end:
            memcpy(pos + response.date, date, HTTP_DATE_LENGTH)
            pos += response.length


cdef inline int status_counted(int route, int code) noexcept nogil:
    """The enum status as which a response of a route is counted: that of the code, or else of its class."""
    cdef int status = status_of(code)
    return status if routes[route].codes >> status & 1 else class_of(code)


cdef inline int class_of(int code) noexcept nogil:
    """The enum status for any status of this class, 2xx to 5xx."""
    return STATUS_2 + code // 100 - 2


cdef inline int variant_of(const Parser *p, bint keep_alive) noexcept nogil:
    if p.minor:
        return VARIANT_KEEP_ALIVE if keep_alive else VARIANT_CLOSE
    return VARIANT_1_0_KEEP_ALIVE if keep_alive else VARIANT_1_0_CLOSE


cdef inline uint8_t response_of(int route, const Parser *p, bint keep_alive) noexcept nogil:
    """The number of a prebuilt response."""
    cdef const Route *row = &routes[route]
    cdef int number = row.response
    if row.variants > 1:
        number += variant_of(p, keep_alive)
    return <uint8_t>(number + row.variants if p.method == METHOD_HEAD else number)


cdef inline uint8_t response_of_error(int error, const Parser *p) noexcept nogil:
    cdef int number = routes[ROUTE_ERROR].response + error
    return <uint8_t>(number + ERROR_COUNT if p.method == METHOD_HEAD else number)


cdef inline bint response_is_rendered(uint8_t response) noexcept nogil:
    """Whether it is not prebuilt."""
    return response == RESPONSE_RENDERED
