"""A fuzz target (libFuzzer) for what /echo keeps of a head, and for what it says.

For any request to /echo: what is kept is the same wherever it is cut; both answers fit into their buffers; the JSON has
no control byte, and as many quotes as end strings.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcmp, memcpy, memset

from yinyang.core.http.head_record cimport HeadRecord, head_record_put, head_record_put_target
from yinyang.core.http.parser cimport (
    OUTCOME_MORE, OUTCOME_READY, OUTCOME_TARGET, Parser, STATE_BODY, STATE_PATH, STATE_QUERY, STATE_TARGET_READY,
    TARGET_KEPT, Target, parser_feed, target_begin, target_keep
)
from yinyang.core.identity.replica cimport Replica
from yinyang.core.routes.echo cimport ECHO_MAX, Fields, echo_json, echo_text, fields_read
from yinyang.core.routes.request cimport Request
from yinyang.core.text.buffer cimport Text, text_fits, text_open


cdef bint record(const uint8_t *data, size_t size, size_t step, Parser *p, HeadRecord *kept) noexcept nogil:
    """Read a request, cut into pieces of `step` bytes, each in memory of its own; whether it is complete."""
    cdef Target target
    cdef uint8_t beginning[TARGET_KEPT]
    cdef size_t offset = 0, length
    cdef uint8_t *piece
    cdef const uint8_t *pos
    cdef const uint8_t *begin
    cdef bint reads_fields
    cdef int outcome = OUTCOME_MORE
    memset(p, 0, sizeof(Parser))
    memset(kept, 0, sizeof(HeadRecord))
    while offset < size and outcome == OUTCOME_MORE:
        length = min(step, size - offset)
        piece = <uint8_t *>malloc(length)
        memcpy(piece, data + offset, length)
        pos = piece
        target_begin(p, &target)
        outcome = OUTCOME_TARGET
        while outcome == OUTCOME_TARGET:
            begin = pos
            reads_fields = STATE_TARGET_READY <= p.state < STATE_BODY
            outcome = parser_feed(p, &pos, piece + length, &target)
            if reads_fields:
                head_record_put(kept, begin, pos if p.state < STATE_BODY else target.head_end)
            if outcome == OUTCOME_TARGET or (
                    outcome == OUTCOME_MORE and STATE_PATH <= p.state <= STATE_QUERY and p.target_length > TARGET_KEPT):
                head_record_put_target(kept, p, &target, beginning)
        target_keep(p, &target, beginning)
        free(piece)
        offset += length
    return outcome == OUTCOME_READY


cdef void check_json(const char *bytes, size_t length) noexcept nogil:
    cdef bint in_string = False, escaped = False
    cdef size_t i
    for i in range(length - 1):
        if <uint8_t>bytes[i] < 32:
            abort()
        if escaped:
            escaped = False
        elif in_string and bytes[i] == b'\\':
            escaped = True
        elif bytes[i] == b'"':
            in_string = not in_string
    if in_string or bytes[length - 1] != b'\n' or bytes[length - 2] != b'}':
        abort()


cdef void check_answers(const Parser *p, const HeadRecord *kept) noexcept nogil:
    cdef char *bytes = <char *>malloc(ECHO_MAX)
    cdef Text text
    cdef Request request
    cdef Replica replica
    cdef Fields fields
    memset(&request, 0, sizeof(request))
    memset(&replica, 0, sizeof(replica))
    replica.identity.name = ""
    request.parser = p
    request.replica = &replica
    request.head = kept
    request.fd = -1
    fields_read(&fields, kept)
    text_open(&text, bytes, ECHO_MAX)
    echo_json(&text, &request, &fields)
    if not text_fits(&text):
        abort()
    check_json(bytes, text.length)
    text_open(&text, bytes, ECHO_MAX)
    echo_text(&text, &request, &fields)
    if not text_fits(&text):
        abort()
    free(bytes)


cdef public int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) noexcept nogil:
    """The first byte tells how the rest is cut."""
    cdef Parser whole, other
    cdef HeadRecord one, two
    cdef size_t step
    cdef int i
    if size < 2 or not record(data + 1, size - 1, size - 1, &whole, &one):
        return 0
    if whole.path >= TARGET_KEPT:  # its route is the page, whatever its path is
        return 0
    check_answers(&whole, &one)
    if one.target < 1:
        abort()
    for i in range(3):
        step = 1 if i == 0 else <size_t>data[0] + 2 if i == 1 else (size + 1) // 2
        if not record(data + 1, size - 1, step, &other, &two):
            abort()
        if one.target != two.target or one.truncated != two.truncated or one.target == 0:
            abort()
        if memcmp(one.bytes, two.bytes, one.target) != 0 or whole.part.body_size != other.part.body_size:
            abort()
        if not same_fields(&one, &two):
            abort()
    return 0


cdef bint same_fields(const HeadRecord *one, const HeadRecord *two) noexcept nogil:
    """What is kept behind the target may begin with the version or not, as a request-line is read in two ways."""
    cdef Fields first, second
    cdef int i
    fields_read(&first, one)
    fields_read(&second, two)
    if first.count != second.count:
        return first.truncated or second.truncated
    for i in range(first.count):
        if first.of[i].name_length != second.of[i].name_length or first.of[i].value_length != second.of[i].value_length:
            return False
        if memcmp(first.of[i].value, second.of[i].value, first.of[i].value_length) != 0:
            return False
    return True
