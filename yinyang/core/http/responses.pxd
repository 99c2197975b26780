"""The prebuilt answers: each one rendered before the first request, some as many copies in a row.

A run of equal answers to pipelined requests is sent straight from the copies. The 29 bytes of each Date are all that
changes, once a second. An answer is known by a number of one byte, and that number is all that a connection
remembers of what its client has not yet taken.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy

from ..identity.page cimport page_render
from ..identity.replica cimport Replica
from ..os.syscalls cimport ENOMEM, MAP_PRIVATE, map_memory, munmap
from ..text.buffer cimport Text, llu, text_format, text_measure, text_open, text_put, text_string
from ..text.calendar cimport HTTP_DATE_LENGTH, http_date_render
from .parser cimport (
    ERROR_COUNT, ERROR_METHOD_REFUSED, FLAG_ASTERISK, FLAG_UNCLEAN, METHOD_HEAD, Parser, TARGET_KEPT, http_errors
)

cdef extern from "messages.h" nogil:
    struct Message "message":
        int code
        const char *text
    const Message statuses[1]
    int status_of(int code)

cdef extern from "routes.h" nogil:
    enum:
        ROUTE_PAGE
        ROUTE_EMPTY
        ROUTE_ALIVE
        ROUTE_WALL
        ROUTE_WHOAMI
        ROUTE_READY
        ROUTE_METRICS
        ROUTES_ALL
        ROUTES_PLAIN
    int route_of(const uint8_t *path, size_t length, int count)

cdef extern from "wall.h" nogil:
    enum:
        WALL_SIZE
    const char *wall_bytes "(const char *)wall"

cdef enum Variant:  # a version of HTTP, and whether the connection stays open
    VARIANT_KEEP_ALIVE  # 1.1 says nothing
    VARIANT_CLOSE  # 1.1 says close
    VARIANT_1_0_CLOSE  # 1.0 says nothing
    VARIANT_1_0_KEEP_ALIVE  # 1.0 says keep-alive
    VARIANT_COUNT

cdef enum:  # in the order of the routes
    RESPONSE_PAGE = 0  # + Form, and so on
    RESPONSE_PAGE_HEAD = RESPONSE_PAGE + VARIANT_COUNT
    RESPONSE_EMPTY = RESPONSE_PAGE_HEAD + VARIANT_COUNT
    RESPONSE_EMPTY_HEAD = RESPONSE_EMPTY + VARIANT_COUNT
    RESPONSE_ALIVE = RESPONSE_EMPTY_HEAD + VARIANT_COUNT
    RESPONSE_ALIVE_HEAD = RESPONSE_ALIVE + VARIANT_COUNT
    RESPONSE_WALL = RESPONSE_ALIVE_HEAD + VARIANT_COUNT  # in one form alone, as it is long
    RESPONSE_WALL_HEAD
    RESPONSE_REDIRECT  # from here on: not prebuilt, but rendered when they are due
    RESPONSE_WHOAMI
    RESPONSE_READY
    RESPONSE_METRICS
    RESPONSE_UNREADY
    RESPONSE_ERROR  # + what is wrong
    RESPONSE_ERROR_HEAD = RESPONSE_ERROR + ERROR_COUNT
    RESPONSE_COUNT = RESPONSE_ERROR_HEAD + ERROR_COUNT
    PAGE_COPIES = 32
    ERROR_MOST = 256  # bytes of the body of an error

cdef struct Response:
    uint32_t start  # where in the bytes
    uint32_t length
    uint32_t date  # where in the answer its Date is
    uint32_t copies  # how many stand in a row; 0 if it is not prebuilt

cdef struct Responses:
    const Replica *replica
    char *bytes
    size_t size
    int64_t second  # that the Dates tell
    Response table[RESPONSE_COUNT]


cdef inline int responses_open(Responses *responses, const Replica *replica) noexcept nogil:
    """Render everything: first to measure it, then into memory of that size. 0 or -errno. `replica` must stay."""
    cdef Text text
    responses.replica = replica
    text_measure(&text)
    responses_render(responses, &text)
    responses.size = text.length
    responses.bytes = <char *>map_memory(responses.size, MAP_PRIVATE)
    if responses.bytes == NULL:
        return -ENOMEM
    text_open(&text, responses.bytes, responses.size)
    responses_render(responses, &text)
    responses.second = -1
    return 0


cdef inline void responses_close(Responses *responses) noexcept nogil:
    if responses.bytes != NULL:
        munmap(responses.bytes, responses.size)
        responses.bytes = NULL


cdef inline void responses_render(Responses *responses, Text *text) noexcept nogil:
    """The page, to be copied into its answers, and then all of them."""
    cdef int variant, error
    cdef size_t page
    page_render(text, responses.replica)
    page = text.length
    for variant in range(<int>VARIANT_COUNT):
        response_render(responses, text, RESPONSE_PAGE + variant, VARIANT_COUNT, 200, variant,
                        "Content-Type: text/html; charset=utf-8\r\n", text.data, page)
        if variant == VARIANT_KEEP_ALIVE:
            response_repeat(responses, text, RESPONSE_PAGE + variant, PAGE_COPIES)
        response_render(responses, text, RESPONSE_EMPTY + variant, VARIANT_COUNT, 200, variant, "", "", 0)
        if not responses.replica.plain:
            response_render(responses, text, RESPONSE_ALIVE + variant, VARIANT_COUNT, 200, variant,
                            "Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n", "ok\n", 3)
    if not responses.replica.plain:
        response_render(responses, text, RESPONSE_WALL, RESPONSE_WALL_HEAD - RESPONSE_WALL, 200, VARIANT_CLOSE,
                        "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n", wall_bytes, WALL_SIZE)
    for error in range(1, ERROR_COUNT):
        response_render_error(responses, text, error)


cdef inline void response_render_error(Responses *responses, Text *text, int error) noexcept nogil:
    """An error ends the connection, whatever its version."""
    cdef const char *fields = "Content-Type: text/plain; charset=utf-8\r\n"
    cdef char bytes[ERROR_MOST]
    cdef Text body
    if error == ERROR_METHOD_REFUSED:
        fields = ("Content-Type: text/plain; charset=utf-8\r\n"
                  "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n")
    text_open(&body, bytes, ERROR_MOST)
    text_format(&body, "%llu %s: %s\n", <llu>http_errors[error].status,
                statuses[status_of(http_errors[error].status)].text, http_errors[error].message)
    response_render(responses, text, RESPONSE_ERROR + error, RESPONSE_ERROR_HEAD - RESPONSE_ERROR,
                    http_errors[error].status, VARIANT_CLOSE, fields, bytes, body.length)


cdef inline void response_render(Responses *responses, Text *text, int whole, int to_head, int status, int variant,
                                 const char *fields, const char *body, size_t length) noexcept nogil:
    """One answer, its Date to be filled in later. `to_head` numbers later is what HEAD gets, a shorter view of the same
    bytes."""
    cdef Response *response = &responses.table[whole]
    response.start = <uint32_t>text.length
    response.copies = 1
    text_format(text, "HTTP/1.%llu %llu %s\r\nDate: ", <llu>(variant < VARIANT_1_0_CLOSE), <llu>status,
                statuses[status_of(status)].text)
    response.date = <uint32_t>text.length - response.start
    text_format(text, "Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: %llu\r\n%s", <llu>length, fields)
    head_end(text, variant)
    response.length = <uint32_t>text.length - response.start
    response[to_head] = response[0]
    text_put(text, body, length)
    response.length = <uint32_t>text.length - response.start


cdef inline void response_repeat(Responses *responses, Text *text, int whole, uint32_t copies) noexcept nogil:
    """Put copies behind the answer that is complete."""
    cdef Response *response = &responses.table[whole]
    cdef const char *first = text.data + response.start if text.data != NULL else NULL
    response.copies = copies
    while copies > 1:
        text_put(text, first, response.length)
        copies -= 1


cdef inline void head_end(Text *text, int variant) noexcept nogil:
    if variant == VARIANT_CLOSE:
        text_string(text, "Connection: close\r\n")
    elif variant == VARIANT_1_0_KEEP_ALIVE:
        text_string(text, "Connection: keep-alive\r\n")
    text_string(text, "\r\n")


# ---- answers that are rendered when asked ---------------------------------------------------------------------------

cdef inline void response_begin(Text *text, const Parser *f, int status, int64_t second, const char *type_,
                                const Text *body) noexcept nogil:
    """As far as the fields of its own."""
    cdef char date[HTTP_DATE_LENGTH + 1]
    http_date_render(date, second)
    text_format(text, "HTTP/1.%llu %llu %s\r\nDate: %s\r\nContent-Length: %llu\r\nContent-Type: %s\r\n"
                "Cache-Control: no-store\r\n", <llu>f.minor, <llu>status, statuses[status_of(status)].text,
                <const char *>date, <llu>body.length, type_)


cdef inline void response_end(Text *text, const Parser *f, bint keep_alive, const Text *body) noexcept nogil:
    head_end(text, variant_of(f, keep_alive))
    if f.method != METHOD_HEAD:
        text_put(text, body.data, body.length)


# ---- the date -----------------------------------------------------------------------------------------------------

cdef inline void responses_set_date(Responses *responses, int64_t second) noexcept nogil:
    """Make all answers tell this second."""
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


# ---- which answer -------------------------------------------------------------------------------------------------

cdef inline int variant_of(const Parser *f, bint keep_alive) noexcept nogil:
    if f.minor:
        return VARIANT_KEEP_ALIVE if keep_alive else VARIANT_CLOSE
    return VARIANT_1_0_KEEP_ALIVE if keep_alive else VARIANT_1_0_CLOSE


cdef inline uint8_t response_for(const Responses *responses, const Parser *f, const uint8_t *target,
                                 bint keep_alive) noexcept nogil:
    """The answer to a framed request; `target` has its first TARGET_KEPT bytes."""
    cdef int route = ROUTE_PAGE
    cdef bint head = f.method == METHOD_HEAD
    if f.flags & FLAG_ASTERISK:
        route = ROUTE_EMPTY
    elif f.flags & FLAG_UNCLEAN and f.target_length <= TARGET_KEPT:
        return RESPONSE_REDIRECT
    elif f.path_end <= TARGET_KEPT:
        route = route_of(target + f.path, f.path_end - f.path, ROUTES_PLAIN if responses.replica.plain else ROUTES_ALL)
    if route >= ROUTE_WHOAMI:
        return <uint8_t>(RESPONSE_WHOAMI + route - ROUTE_WHOAMI)
    if route == ROUTE_WALL:
        return <uint8_t>(RESPONSE_WALL + head)
    return <uint8_t>((2 * route + head) * VARIANT_COUNT + variant_of(f, keep_alive))


cdef inline uint8_t response_for_error(const Parser *f, int error) noexcept nogil:
    return <uint8_t>((RESPONSE_ERROR_HEAD if f.method == METHOD_HEAD else RESPONSE_ERROR) + error)


cdef inline bint response_is_page(uint8_t response) noexcept nogil:
    """Is a line logged for it?"""
    return response < RESPONSE_EMPTY


cdef inline bint response_ends_connection(uint8_t response) noexcept nogil:
    """Does a good answer end the connection, whatever was asked for?"""
    return RESPONSE_WALL <= response < RESPONSE_REDIRECT


cdef inline bint response_is_dynamic(uint8_t response) noexcept nogil:
    return RESPONSE_REDIRECT <= response < RESPONSE_ERROR
