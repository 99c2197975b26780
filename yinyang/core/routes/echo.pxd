"""`/echo`, `/headers` and `/anything`: the request, as it came.

As JSON, or as plain text (`?format=text`, or Accept prefers text/plain) in the way of traefik/whoami. It is never HTML,
so nothing that a request brings is run by a browser.
"""

from libc.stdint cimport uint16_t, uint64_t, uint8_t
from libc.string cimport memchr, memcmp, strlen

from ..http.head_record cimport HeadRecord
from ..http.parser cimport COLON, HTAB, LF, SLASH, SP, lower_case, method_names
from ..http.proxy_header cimport source_address
from ..identity.identity cimport Identity
from ..os.address cimport Address, address_of_socket, text_address, text_address_and_port
from ..text.buffer cimport Text, llu, text_format, text_open, text_put, text_quoted_bytes, text_string
from .request cimport Request, request_prefers_text, response_begin, response_end
from .status cimport words_render
from .whoami cimport State, whoami_fields, whoami_format, whoami_state

cdef enum:
    ECHO_MAX = 16384  # bytes of the body
    FIELDS_MAX = 256  # fields that are echoed
    ECHO_END = 64  # bytes that may follow the fields

cdef struct Field:
    const uint8_t *name
    const uint8_t *value
    uint16_t name_length
    uint16_t value_length

cdef struct Fields:
    int count
    bint truncated  # there were more
    Field of[FIELDS_MAX]


cdef inline int echo_render(Text *text, const Request *request) noexcept nogil:
    cdef bint plain = request_prefers_text(request)
    cdef char bytes[ECHO_MAX]
    cdef Text body
    cdef Fields fields
    cdef State state
    if request.head == NULL:
        return words_render(text, request, 503, "too many requests are being echoed", "")
    fields_read(&fields, request.head)
    text_open(&body, bytes, ECHO_MAX)
    if plain:
        echo_text(&body, request, &fields)
    else:
        echo_json(&body, request, &fields)
    response_begin(text, request, 200, "text/plain; charset=utf-8" if plain else "application/json", &body)
    whoami_state(&state, request)
    whoami_format(text, &whoami_fields, request.replica, &state)
    response_end(text, request, &body)
    return 200


# ---- reading ------------------------------------------------------------------------------------------------------

cdef inline void fields_read(Fields *fields, const HeadRecord *head) noexcept nogil:
    """The field-lines of a valid head; the last one may be cut off, and is left out then."""
    cdef const uint8_t *pos = head.bytes + head.target
    cdef const uint8_t *end = head.bytes + head.length
    cdef const uint8_t *line_end
    fields.count = 0
    fields.truncated = head.truncated
    if end - pos >= 5 and memcmp(pos, "HTTP/", 5) == 0:  # the rest of the request-line
        line_end = <const uint8_t *>memchr(pos, LF, <size_t>(end - pos))
        pos = line_end + 1 if line_end != NULL else end
    while pos < end:
        line_end = <const uint8_t *>memchr(pos, LF, <size_t>(end - pos))
        if line_end == NULL or line_end - pos < 2:
            return
        if fields.count == FIELDS_MAX:
            fields.truncated = True
            return
        field_read(&fields.of[fields.count], pos, line_end - 1)
        fields.count += 1
        pos = line_end + 1


cdef inline void field_read(Field *field, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """A field-line without its CR LF."""
    field.name = pos
    pos = <const uint8_t *>memchr(pos, COLON, <size_t>(end - pos))
    field.name_length = <uint16_t>(pos - field.name)
    pos += 1
    while pos < end and (pos[0] == SP or pos[0] == HTAB):
        pos += 1
    while pos < end and ((end - 1)[0] == SP or (end - 1)[0] == HTAB):
        end -= 1
    field.value = pos
    field.value_length = <uint16_t>(end - pos)


cdef inline bint is_same_name(const Field *one, const Field *other) noexcept nogil:
    """Names are the same in either case (RFC 9110 section 5.1)."""
    cdef uint16_t i
    if one.name_length != other.name_length:
        return False
    for i in range(one.name_length):
        if lower_case(one.name[i]) != lower_case(other.name[i]):
            return False
    return True


# ---- writing ------------------------------------------------------------------------------------------------------

cdef inline void echo_json(Text *body, const Request *request, const Fields *fields) noexcept nogil:
    cdef const HeadRecord *head = request.head
    cdef bint truncated = fields.truncated
    cdef size_t before
    cdef int i
    text_string(body, '{"host":')
    json_host(body, request, fields)
    text_string(body, ',"method":"')
    text_method(body, request)
    text_string(body, '","url":')
    text_quoted_bytes(body, <const char *>head.bytes, head.target)
    text_format(body, ',"proto":"HTTP/1.%llu","remoteAddr":"', <llu>request.parser.minor)
    text_remote(body, request)
    text_string(body, '","localAddr":"')
    text_local(body, request, True)
    text_format(body, '","bodyLength":%llu,"headers":{', <llu>request.parser.part.body_size)
    if body.length > body.room - ECHO_END:  # only a target that is not UTF-8 becomes as long
        body.length = 0
        text_string(body, '{"headers":{')
        truncated = True
    for i in range(fields.count):
        if not is_first_of_name(fields, i):
            continue
        before = body.length
        json_field(body, fields, i, before > 0 and body.data[before - 1] != b'{')
        if body.length > body.room - ECHO_END:
            body.length = before
            truncated = True
            break
    text_string(body, '},"truncated":true}\n' if truncated else "}}\n")


cdef inline void json_host(Text *body, const Request *request, const Fields *fields) noexcept nogil:
    """The host of a target in absolute-form, as RFC 9112 section 3.2.2 demands, else the value of Host; empty if there
    is none, as HTTP/1.0 allows."""
    cdef const HeadRecord *head = request.head
    cdef size_t begin = 0
    cdef size_t end = min(<size_t>request.parser.path, <size_t>head.target)
    cdef Field host
    cdef int i
    while begin < end and head.bytes[begin] != SLASH:
        begin += 1
    begin += strlen("//")
    if begin < end:
        text_quoted_bytes(body, <const char *>head.bytes + begin, end - begin)
        return
    host.name = <const uint8_t *>"host"
    host.name_length = 4
    for i in range(fields.count):
        if is_same_name(&fields.of[i], &host):
            text_quoted_bytes(body, <const char *>fields.of[i].value, fields.of[i].value_length)
            return
    text_string(body, '""')


cdef inline bint is_first_of_name(const Fields *fields, int index) noexcept nogil:
    cdef int i
    for i in range(index):
        if is_same_name(&fields.of[i], &fields.of[index]):
            return False
    return True


cdef inline void json_field(Text *body, const Fields *fields, int first, bint follows) noexcept nogil:
    """A member with the values of all fields of this name."""
    cdef int i
    text_string(body, "," if follows else "")
    text_quoted_bytes(body, <const char *>fields.of[first].name, fields.of[first].name_length)
    for i in range(first, fields.count):
        if is_same_name(&fields.of[i], &fields.of[first]):
            text_string(body, ":[" if i == first else ",")
            text_quoted_bytes(body, <const char *>fields.of[i].value, fields.of[i].value_length)
    text_string(body, "]")


cdef inline void echo_text(Text *body, const Request *request, const Fields *fields) noexcept nogil:
    cdef const Identity *identity = &request.replica.identity
    cdef const Field *field
    cdef int i
    text_string(body, "Hostname: ")
    text_put(body, identity.name, identity.length)
    text_string(body, "\nIP: ")
    text_local(body, request, False)
    text_string(body, "\nRemoteAddr: ")
    text_remote(body, request)
    if request.parser.part.body_size:
        text_format(body, "\nBodyLength: %llu", <llu>request.parser.part.body_size)
    if fields.truncated:
        text_string(body, "\nTruncated: true")
    text_string(body, "\n")
    text_method(body, request)
    text_string(body, " ")
    text_put(body, <const char *>request.head.bytes, request.head.target)
    text_format(body, " HTTP/1.%llu\n", <llu>request.parser.minor)
    for i in range(fields.count):
        field = &fields.of[i]
        text_put(body, <const char *>field.name, field.name_length)
        text_string(body, ": ")
        text_put(body, <const char *>field.value, field.value_length)
        text_string(body, "\n")


cdef inline void text_method(Text *body, const Request *request) noexcept nogil:
    """Append the name of the method, which http_chars.h has as a number of its bytes."""
    cdef uint64_t name = method_names[request.parser.method]
    cdef char byte
    cdef int i
    for i in range(8):
        byte = <char>(name >> 8 * (7 - i) & 0xFF)
        if byte:
            text_put(body, &byte, 1)


cdef inline void text_remote(Text *body, const Request *request) noexcept nogil:
    """Append the address of the client: that of the PROXY header, if there is one."""
    cdef Address address
    if (request.source != NULL and source_address(request.source, &address)
            or address_of_socket(&address, request.fd, True)):
        text_address_and_port(body, &address)


cdef inline void text_local(Text *body, const Request *request, bint with_port) noexcept nogil:
    """Append the address that the client is connected to."""
    cdef Address address
    if not address_of_socket(&address, request.fd, False):
        return
    if with_port:
        text_address_and_port(body, &address)
    else:
        text_address(body, &address)
