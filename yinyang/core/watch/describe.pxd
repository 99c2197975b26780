"""Whom an answer tells of: the replica as it describes itself, in JSON, in a header, or in plain text."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memchr, memcmp, memcpy, memset, strlen

from ..identity.identity cimport COLOUR_LENGTH, Identity, PALETTE_ORIGINAL, identity_set
from ..text.buffer cimport hex_digit
from ..text.calendar cimport DAY_SECONDS, days_until
from ..text.utf8 cimport REPLACEMENT, UTF8_MAX, utf8_next, utf8_put
from .answer cimport Answer, Span, lower, span_set
from .json cimport (
    JSON_END, Json, json_char, json_key_skip, json_skip, json_space, json_take, json_whole
)
from .sample cimport Described, LABEL_MAX, Label, label_is

cdef enum:  # members of the object that a replica describes itself with
    MEMBER_HOST
    MEMBER_SHORT
    MEMBER_VERSION
    MEMBER_ZONE
    MEMBER_NODE
    MEMBER_COLOURS
    MEMBER_STARTED
    MEMBER_START_MS
    MEMBER_HEADERS  # of a request that is sent back, whose host is the one that was asked
    MEMBERS


cdef inline void described_clear(Described *d) noexcept nogil:
    """Nothing is known."""
    memset(d, 0, sizeof(Described))
    d.start_ms = -1


cdef inline bint answer_describe(const Answer *a, Described *d) noexcept nogil:
    """Whom an answer tells of that is done. False if it tells of nobody."""
    described_clear(d)
    if a.body.bytes == NULL:
        return False
    if describe_json(&a.body, d) or describe_lines(&a.body, d) or describe_header(a, d) or describe_other(&a.body, d):
        describe_rest(d)
        return True
    return False


cdef inline bint failure_describe(const Answer *a, Described *d) noexcept nogil:
    """Whose failure an answer is, of which there is no more than the head. False if it does not tell."""
    described_clear(d)
    if not describe_header(a, d):
        return False
    describe_rest(d)
    return True


cdef inline void describe_rest(Described *d) noexcept nogil:
    """What it does not tell, as a replica of this name has it by default."""
    cdef Identity identity
    identity_set(&identity, d.host.bytes, d.host.length, PALETTE_ORIGINAL)
    if d.short_name.length == 0:
        label_set(&d.short_name, identity.short, strlen(identity.short))
    if d.colours[0][0] == 0:
        memcpy(d.colours[0], identity.colours[0], COLOUR_LENGTH)
        memcpy(d.colours[1], identity.colours[1], COLOUR_LENGTH)


# ---- texts for a terminal -----------------------------------------------------------------------------------------

cdef struct Labelling:  # of a label that is being written
    Label *label
    bint is_full


cdef inline void label_set(Label *label, const char *bytes, size_t length) noexcept nogil:
    """Bytes of others, fit for a terminal: as many whole characters as there is room for, with U+FFFD for each that
    controls a terminal or the direction of text, and for each byte that is no UTF-8."""
    cdef const uint8_t *pos = <const uint8_t *>bytes
    cdef const uint8_t *end = pos + length
    cdef Labelling labelling
    label_begin(&labelling, label)
    while pos < end and not labelling.is_full:
        label_put(&labelling, utf8_next(&pos, end))


cdef inline void label_begin(Labelling *labelling, Label *label) noexcept nogil:
    labelling.label = label
    labelling.is_full = False
    label.length = 0


cdef inline bint is_control(int32_t character) noexcept nogil:
    """Whether it is of C0, DEL or C1, breaks a line, or has Unicode's property Bidi_Control."""
    if character < 0xA0:
        return character < 0x20 or character >= 0x7F
    return (
        character == 0x61C or 0x200E <= character <= 0x200F or 0x2028 <= character <= 0x202E
        or 0x2066 <= character <= 0x2069
    )


cdef inline void label_put(Labelling *labelling, int32_t character) noexcept nogil:
    """Append a character; once one has no room, nothing more."""
    cdef char bytes[UTF8_MAX]
    cdef size_t length
    cdef Label *label = labelling.label
    if 0x20 <= character < 0x7F and label.length < LABEL_MAX and not labelling.is_full:  # nearly all of them
        label.bytes[label.length] = <char>character
        label.length += 1
        return
    length = utf8_put(bytes, REPLACEMENT if is_control(character) else character)
    if labelling.is_full or label.length + length > LABEL_MAX:
        labelling.is_full = True
        return
    memcpy(label.bytes + label.length, bytes, length)
    label.length = <uint8_t>(label.length + length)


# ---- JSON ---------------------------------------------------------------------------------------------------------

cdef inline bint describe_json(const Span *body, Described *d) noexcept nogil:
    """From an object as /whoami has it. Members that have another type count as if they were not there."""
    cdef Json members[MEMBERS]
    if not members_find(body, members) or members[MEMBER_HEADERS].pos != NULL:
        return False
    if not label_read(&d.host, &members[MEMBER_HOST]) or d.host.length == 0:
        return False
    label_read(&d.short_name, &members[MEMBER_SHORT])
    label_read(&d.version, &members[MEMBER_VERSION])
    label_read(&d.zone, &members[MEMBER_ZONE])
    label_read(&d.node, &members[MEMBER_NODE])
    if members[MEMBER_COLOURS].pos != NULL:
        colours_read(d, &members[MEMBER_COLOURS])
    d.started = time_read(&members[MEMBER_STARTED])
    if members[MEMBER_START_MS].pos != NULL:
        d.start_ms = json_whole(&members[MEMBER_START_MS])
    return True


cdef inline bint members_find(const Span *body, Json *members) noexcept nogil:
    """Where the values of the members begin, of several the last; pos is NULL where there is none. False if the body is
    no object."""
    cdef Json j, key
    cdef int member
    cdef bint is_end
    memset(members, 0, MEMBERS * sizeof(Json))
    j.pos = <const uint8_t *>body.bytes
    j.end = j.pos + body.length
    if j.end - j.pos > 3 and memcmp(j.pos, b"\xef\xbb\xbf", 3) == 0:  # a byte order mark
        j.pos += 3
    json_space(&j)
    if not json_take(&j, b'{'):
        return False
    json_space(&j)
    is_end = json_take(&j, b'}')
    while not is_end:
        key = j
        if not json_key_skip(&j):
            return False
        json_space(&j)
        member = member_of(&key)
        if member < MEMBERS:
            members[member] = j
        if not json_skip(&j, 1):
            return False
        json_space(&j)
        is_end = json_take(&j, b'}')
        if not is_end and not json_take(&j, b','):
            return False
    json_space(&j)
    return j.pos == j.end


cdef inline int member_of(Json *key) noexcept nogil:
    """MEMBERS for a key of no importance."""
    cdef Label label
    json_space(key)
    label_read(&label, key)
    if label_is(&label, "host", 4):
        return MEMBER_HOST
    if label_is(&label, "short", 5):
        return MEMBER_SHORT
    if label_is(&label, "version", 7):
        return MEMBER_VERSION
    if label_is(&label, "zone", 4):
        return MEMBER_ZONE
    if label_is(&label, "node", 4):
        return MEMBER_NODE
    if label_is(&label, "colours", 7):
        return MEMBER_COLOURS
    if label_is(&label, "started", 7):
        return MEMBER_STARTED
    if label_is(&label, "start_ms", 8):
        return MEMBER_START_MS
    if label_is(&label, "headers", 7):
        return MEMBER_HEADERS
    return MEMBERS


cdef inline bint label_read(Label *label, Json *j) noexcept nogil:
    """A value that is a string, and pass over it. False, and an empty label, if it is none."""
    cdef Labelling labelling
    cdef int32_t character
    label_begin(&labelling, label)
    if not json_take(j, b'"'):
        return False
    character = json_char(j)
    while character >= 0:
        label_put(&labelling, character)
        character = json_char(j)
    return character == JSON_END


cdef inline void colours_read(Described *d, Json *j) noexcept nogil:
    """Of a list of two; grey and black if it is none."""
    cdef bint is_right = json_take(j, b'[')
    is_right = is_right and colour_read(d.colours[0], j)
    json_space(j)
    is_right = is_right and json_take(j, b',') and colour_read(d.colours[1], j)
    json_space(j)
    if not is_right or not json_take(j, b']'):
        memcpy(d.colours[0], b"#808080", COLOUR_LENGTH)
        memcpy(d.colours[1], b"#000000", COLOUR_LENGTH)


cdef inline bint colour_read(char *colour, Json *j) noexcept nogil:
    cdef Label label
    json_space(j)
    return label_read(&label, j) and colour_parse(colour, label.bytes, label.length)


cdef inline bint colour_parse(char *colour, const char *bytes, size_t length) noexcept nogil:
    """`#rrggbb`, in either case; False, and nothing is changed, if it is none."""
    cdef int i
    if length != COLOUR_LENGTH or bytes[0] != b'#':
        return False
    for i in range(1, COLOUR_LENGTH):
        if hex_digit(bytes[i]) < 0:
            return False
    for i in range(COLOUR_LENGTH):
        colour[i] = <char>lower(bytes[i])
    return True


# ---- times --------------------------------------------------------------------------------------------------------

cdef inline int64_t time_read(Json *j) noexcept nogil:
    cdef Label label
    return timestamp_parse(label.bytes, label.length) if label_read(&label, j) else 0


cdef inline int64_t timestamp_parse(const char *bytes, size_t length) noexcept nogil:
    """The seconds since 1970 of a time as in RFC 3339, `2026-11-26T08:00:00Z`, or without the seconds or the zone,
    which is UTC then; 0 if it is none, or earlier."""
    cdef const char *pos = bytes
    cdef const char *end = bytes + length
    cdef int year = digits_take(&pos, end, 4, 1970, 9999)
    cdef int month = after_take(&pos, end, b'-', 1, 12)
    cdef int day = after_take(&pos, end, b'-', 1, 31)
    cdef int hour, minute
    cdef int second = 0
    cdef int64_t days
    if pos < end and (pos[0] == b'T' or pos[0] == b't' or pos[0] == b' '):
        pos += 1
    else:
        return 0
    hour = digits_take(&pos, end, 2, 0, 23)
    minute = after_take(&pos, end, b':', 0, 59)
    if pos < end and pos[0] == b':':
        second = after_take(&pos, end, b':', 0, 59)
        fraction_skip(&pos, end)
    if year < 0 or month < 0 or day < 0 or hour < 0 or minute < 0 or second < 0 or day > month_days(year, month):
        return 0
    days = days_until(year, month, day)
    return max(<int64_t>0, offset_apply(days * DAY_SECONDS + hour * 3600 + minute * 60 + second, pos, end))


cdef inline int month_days(int year, int month) noexcept nogil:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


cdef inline int digits_take(const char **pos, const char *end, int count, int least, int most) noexcept nogil:
    """So many digits, which are passed over; -1 if there are fewer, or if the number is out of range."""
    cdef int number = 0
    cdef int i
    if end - pos[0] < count:
        return -1
    for i in range(count):
        if not b'0' <= pos[0][i] <= b'9':
            return -1
        number = number * 10 + (pos[0][i] - 48)
    pos[0] += count
    return number if least <= number <= most else -1


cdef inline int after_take(const char **pos, const char *end, char byte, int least, int most) noexcept nogil:
    """Two digits after a byte."""
    if pos[0] >= end or pos[0][0] != byte:
        return -1
    pos[0] += 1
    return digits_take(pos, end, 2, least, most)


cdef inline void fraction_skip(const char **pos, const char *end) noexcept nogil:
    if end - pos[0] < 2 or pos[0][0] != b'.' or not b'0' <= pos[0][1] <= b'9':
        return
    pos[0] += 1
    while pos[0] < end and b'0' <= pos[0][0] <= b'9':
        pos[0] += 1


cdef inline int64_t offset_apply(int64_t second, const char *pos, const char *end) noexcept nogil:
    """A local time in UTC, by `Z`, `+01:00`, or nothing; 0 if it is followed by something else."""
    cdef int sign, hours, minutes
    if pos == end or (end - pos == 1 and lower(pos[0]) == b'z'):
        return second
    sign = 1 if pos[0] == b'+' else -1
    if sign < 0 and pos[0] != b'-':
        return 0
    pos += 1
    hours = digits_take(&pos, end, 2, 0, 23)
    minutes = after_take(&pos, end, b':', 0, 59)
    if hours < 0 or minutes < 0 or pos != end:
        return 0
    return second - sign * (hours * 3600 + minutes * 60)


# ---- a header, and plain text -------------------------------------------------------------------------------------

cdef inline bint describe_header(const Answer *a, Described *d) noexcept nogil:
    """From X-Served-By, as each answer with --served-by has it; that of /whoami tells more, also where it fails."""
    if a.served_by.bytes == NULL or a.served_by.length == 0:
        return False
    label_set(&d.host, a.served_by.bytes, a.served_by.length)
    field_read(&d.version, &a.version)
    field_read(&d.zone, &a.zone)
    field_read(&d.node, &a.node)
    return True


cdef inline void field_read(Label *label, const Span *field) noexcept nogil:
    if field.bytes != NULL:
        label_set(label, field.bytes, field.length)


cdef inline bint describe_other(const Span *body, Described *d) noexcept nogil:
    """From a line, as traefik/whoami has it."""
    line_read(&d.host, body, "Hostname: ")
    return d.host.length > 0


cdef inline bint describe_lines(const Span *body, Described *d) noexcept nogil:
    """From lines, as /whoami has them with ?format=text. Its header tells less."""
    cdef Span value
    cdef Json number
    if not begins_as_ours(body):
        return False
    line_read(&d.host, body, "host: ")
    if d.host.length == 0:
        return False
    line_read(&d.short_name, body, "short: ")
    line_read(&d.version, body, "version: ")
    line_read(&d.zone, body, "zone: ")
    line_read(&d.node, body, "node: ")
    if line_find(body, "colours: ", &value) and value.length == 2 * COLOUR_LENGTH + 1:
        if not colour_parse(d.colours[0], value.bytes, COLOUR_LENGTH) or not colour_parse(
            d.colours[1], value.bytes + COLOUR_LENGTH + 1, COLOUR_LENGTH
        ):
            d.colours[0][0] = 0
    if line_find(body, "started: ", &value):
        d.started = timestamp_parse(value.bytes, value.length)
    if line_find(body, "start_ms: ", &value):
        number.pos = <const uint8_t *>value.bytes
        number.end = number.pos + value.length
        d.start_ms = json_whole(&number)
    return True


cdef inline bint begins_as_ours(const Span *body) noexcept nogil:
    """Whether its lines are those of /whoami, rather than those of a request that is sent back."""
    cdef Span rest = body[0]
    cdef Span line
    if not line_next(&rest, &line) or not has_prefix(&line, "host: "):
        return False
    return line_next(&rest, &line) and has_prefix(&line, "short: ")


cdef inline void line_read(Label *label, const Span *body, const char *prefix) noexcept nogil:
    """The rest of the first line with this prefix, if there is one."""
    cdef Span value
    if line_find(body, prefix, &value):
        label_set(label, value.bytes, value.length)


cdef inline bint line_find(const Span *body, const char *prefix, Span *value) noexcept nogil:
    """The rest of the first line with this prefix, without the white space around it. False if there is none."""
    cdef Span rest = body[0]
    cdef Span line
    while line_next(&rest, &line):
        if has_prefix(&line, prefix):
            span_set(value, line.bytes + strlen(prefix), line.bytes + line.length)
            return True
    return False


cdef inline bint has_prefix(const Span *line, const char *prefix) noexcept nogil:
    cdef size_t length = strlen(prefix)
    return line.length >= length and memcmp(line.bytes, prefix, length) == 0


cdef inline bint line_next(Span *rest, Span *line) noexcept nogil:
    """The next line, which is taken off `rest`; False at the end."""
    cdef const char *feed
    cdef const char *end
    if rest.length == 0:
        return False
    feed = <const char *>memchr(rest.bytes, b'\n', rest.length)
    end = rest.bytes + rest.length if feed == NULL else feed + 1
    line.bytes = rest.bytes
    line.length = <size_t>(end - rest.bytes)
    rest.bytes = end
    rest.length -= line.length
    while line.length and (line.bytes[line.length - 1] == b'\n' or line.bytes[line.length - 1] == b'\r'):
        line.length -= 1
    return True
