"""The parser of requests: bytes of a connection -> one framed request after another, or an error.

It is a state machine over the grammar of RFC 9112 (HTTP/1.1), RFC 9110 (fields) and RFC 3986 (targets). It reads only
the fields that decide where a request ends, whether the connection persists, and which response is due. Its rules:

1.  Each byte is read once. The state of a request is a `Parser` of 32 bytes; the parser copies nothing and allocates
    nothing. Segments may be cut anywhere without a change of the outcome.
2.  The first byte that cannot belong to a valid request is an error at once. Errors that depend on the whole head are
    found at its end: first the method, then Host and framing, then valid requests that are not supported.
3.  Lines end in CR LF only. RFC 9112 section 2.2 allows a server to accept a bare LF, but two parsers that differ in
    this allow request smuggling. Empty lines before a request are skipped, as that section requires.
4.  Nothing is repaired. These are errors: a space before a colon, a folded line (section 5.2), a second Host (section
    3.2) or Content-Length (section 6.3), Transfer-Encoding beside Content-Length or in HTTP/1.0 (section 6.1), a sign,
    list or prefix in a length, and chunked anywhere but once and last (section 7).
5.  Every error ends the connection, as the start of the next request is then unknown.

`parser_feed` is the entry point.
"""

from libc.stdint cimport INT64_MAX, uint16_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy, memset

cdef extern from "http_chars.h" nogil:
    enum:
        BYTE_TOKEN
        BYTE_HOST
        BYTE_PATH
        BYTE_SCHEME
        BYTE_DIGIT
        BYTE_HEX
        BYTE_QUERY
        BYTE_FIELD
        METHOD_UNKNOWN
        METHOD_GET
        METHOD_HEAD
        METHOD_POST
        METHOD_PUT
        METHOD_PATCH
        METHOD_DELETE
        METHOD_OPTIONS
        METHOD_CONNECT
        METHOD_TRACE
        METHODS
        WORD_HOST
        WORD_CONNECTION
        WORD_CONTENT_LENGTH
        WORD_TRANSFER_ENCODING
        WORD_EXPECT
        WORD_ACCEPT
        WORD_FIELDS
        WORD_CLOSE
        WORD_KEEP_ALIVE
        WORD_CHUNKED
        WORD_CONTINUE
        WORD_TEXT_PLAIN
        WORD_VALUES
        WORD_SIZE
    int lowest_bit(unsigned int set)
    const uint8_t byte_roles[256]
    const uint64_t method_names[10]
    const char field_words[6][WORD_SIZE]
    const char value_words[5][WORD_SIZE]

cdef extern from "simd_scan.h" nogil:
    bint byte_in_value(uint8_t byte)
    const uint8_t *scan_value(const uint8_t *pos, const uint8_t *end)

cdef extern from "http_errors.h" nogil:
    enum:
        ERROR_NOTHING
        ERROR_METHOD
        ERROR_TLS
        ERROR_TARGET
        ERROR_PERCENT
        ERROR_AUTHORITY
        ERROR_VERSION
        ERROR_LINE_END
        ERROR_FIELD_NAME
        ERROR_FIELD_VALUE
        ERROR_HOST_MISSING
        ERROR_HOST_TWICE
        ERROR_HOST
        ERROR_LENGTH
        ERROR_LENGTH_TWICE
        ERROR_LENGTH_AND_CODING
        ERROR_CODING_IN_1_0
        ERROR_CODING_ORDER
        ERROR_CHUNK_SIZE
        ERROR_CHUNK_LINE
        ERROR_CHUNK_END
        ERROR_CHUNK_EXTRA
        ERROR_INCOMPLETE
        ERROR_METHOD_REFUSED
        ERROR_SLOW_HEAD
        ERROR_SLOW_BODY
        ERROR_TARGET_LONG
        ERROR_EXPECTATION
        ERROR_HEAD_LONG
        ERROR_METHOD_UNKNOWN
        ERROR_CODING_UNKNOWN
        ERROR_VERSION_UNKNOWN
        ERROR_COUNT
    struct ErrorRow "http_error_row":
        int status
        const char *message
    const ErrorRow http_errors[ERROR_COUNT]

cdef enum:
    TARGET_MAX = 16 * 1024  # bytes
    HEAD_MAX = 64 * 1024  # bytes, the request line and the empty line included
    LONG_BODY = 256 * 1024  # bytes: the response to a longer body does not wait for one that does not begin to come
    CHUNK_LINE_MAX = 4 * 1024  # bytes, without its CR LF
    CHUNK_EXTRA_MAX = 16 * 1024  # bytes of extensions and trailers in one body
    TARGET_KEPT = 256  # bytes of a target that are kept for its response

cdef enum:  # bytes with a meaning in the grammar
    HTAB = 9
    LF = 10
    CR = 13
    TLS_HANDSHAKE = 22
    SP = 32
    PERCENT = 37
    ASTERISK = 42
    COMMA = 44
    DOT = 46
    SLASH = 47
    ZERO = 48
    NINE = 57
    COLON = 58
    SEMICOLON = 59
    QUESTION = 63
    UPPER_A = 65
    UPPER_Z = 90
    LOWER_A = 97
    BRACKET = 91
    BRACKET_END = 93

cdef enum State:  # in the order of a request
    STATE_START  # before the method; empty lines are skipped
    STATE_START_LF
    STATE_METHOD
    STATE_TARGET  # at the first byte of the target, which tells its form
    STATE_ASTERISK  # asterisk-form
    STATE_SCHEME  # absolute-form
    STATE_SCHEME_SLASH
    STATE_SCHEME_SLASHES
    STATE_AUTHORITY
    STATE_PATH  # the rest of absolute-form, or origin-form
    STATE_PATH_PERCENT
    STATE_PATH_PERCENT_DIGIT
    STATE_QUERY
    STATE_CONNECT_TARGET  # of CONNECT, which is refused for any target
    STATE_TARGET_READY
    STATE_VERSION
    STATE_VERSION_LF
    STATE_FIELD_LINE
    STATE_FIELD_NAME
    STATE_FIELD_VALUE  # of a field that is not read
    STATE_HOST
    STATE_CONTENT_LENGTH
    STATE_LIST  # of Connection, Transfer-Encoding, Expect or Accept
    STATE_FIELD_LF
    STATE_HEAD_LF
    STATE_BODY  # the head is complete from here on
    STATE_CHUNK_SIZE
    STATE_CHUNK_SPACE
    STATE_CHUNK_EXTENSION
    STATE_CHUNK_LF
    STATE_CHUNK_DATA
    STATE_CHUNK_DATA_CR
    STATE_CHUNK_DATA_LF
    STATE_TRAILER
    STATE_TRAILER_NAME
    STATE_TRAILER_VALUE
    STATE_TRAILER_LF
    STATE_TRAILERS_LF
    STATE_READY

cdef enum Flag:
    FLAG_HOST = 1 << 0
    FLAG_LENGTH = 1 << 1
    FLAG_CODING = 1 << 2
    FLAG_CHUNKED = 1 << 3
    FLAG_AFTER_CHUNKED = 1 << 4
    FLAG_UNKNOWN_CODING = 1 << 5
    FLAG_CLOSE = 1 << 6
    FLAG_KEEP_ALIVE = 1 << 7
    FLAG_CONTINUE = 1 << 8
    FLAG_OTHER_EXPECTATION = 1 << 9
    FLAG_ASTERISK = 1 << 10
    FLAG_UNCLEAN = 1 << 11  # the path has an empty segment, or one of . and ..
    FLAG_BODY_LEFT = 1 << 12  # the response does not wait for the end of the body
    FLAG_READS_ACCEPT = 1 << 13  # the caller wants Accept to be read
    FLAG_TEXT_PLAIN = 1 << 14  # Accept is read, and lists text/plain
    FLAG_BODY_AWAITED = 1 << 15  # the body is announced as a long one, and no byte of it has come

cdef enum Host:  # the position in uri-host [":" port]
    HOST_START
    HOST_NAME
    HOST_PERCENT
    HOST_PERCENT_DIGIT
    HOST_BRACKET
    HOST_LITERAL
    HOST_LITERAL_END
    HOST_PORT
    HOST_BARE_IPV6  # an IPv6 address without brackets
    HOST_END  # only spaces may follow

cdef enum Segment:  # what the segment of the path is so far
    SEGMENT_EMPTY
    SEGMENT_DOT
    SEGMENT_DOTS
    SEGMENT_OTHER

cdef enum Value:  # the position in a Content-Length, or in an element of a list
    VALUE_START
    VALUE_TOKEN
    VALUE_SPACE  # after the token

cdef enum Outcome:
    OUTCOME_MORE
    OUTCOME_TARGET
    OUTCOME_READY
    OUTCOME_ERROR

cdef union Number:
    uint64_t method  # the bytes of the method, while it is read
    uint64_t content_length  # in the head, once there is one
    uint64_t body_left  # bytes of the body, or of the chunk, that are not read yet

cdef union Position:  # by the state
    uint8_t major  # of the version
    uint8_t host  # enum Host
    uint8_t segment  # enum Segment
    uint8_t value  # enum Value

cdef struct Parser:
    Number number
    uint32_t head_size  # bytes of the head so far
    uint16_t target_length  # bytes of the target so far
    uint16_t path  # offset in the target at which its path begins
    uint16_t path_end  # offset at which it ends
    uint16_t chunk_line  # bytes of the chunk line so far
    uint16_t chunk_extra  # bytes of chunk extensions and trailers so far
    uint16_t flags  # a set of Flag
    uint8_t state
    uint8_t method
    uint8_t minor  # of the version: 0 or 1
    uint8_t field  # the one of field_words whose value is read
    uint8_t candidates  # the set of words that can begin with the token so far
    uint8_t token_length  # bytes of the token so far: a method, version, name, list element, or chunk size
    Position position
    uint8_t error

# The part of a target that is in the segment at hand.
cdef struct Target:
    const uint8_t *bytes  # NULL if there is none
    uint32_t offset  # of these bytes in the target


cdef inline int parser_feed(Parser *p, const uint8_t **pos, const uint8_t *end, Target *target) noexcept nogil:
    """Read [*pos, end) as far as the end of a request. Call `target_begin` before a segment is fed.

    OUTCOME_MORE: all bytes are read, and the request is incomplete.
    OUTCOME_TARGET: the target is complete. The caller may call `parser_read_accept`, and feeds the rest.
    OUTCOME_READY: the request ends before *pos; `p` describes it until `parser_next`.
    OUTCOME_ERROR: the error is p.error; *pos is behind the byte that caused it.
    """
    cdef const uint8_t *current = pos[0]
    if p.state == STATE_TARGET_READY:
        p.state = STATE_VERSION
    if p.state < STATE_BODY and current != end and not p.error:
        current = parse_head(p, current, end, target)
    while STATE_BODY <= p.state < STATE_READY and current != end and not p.error:
        current = parse_body(p, current, end)
    pos[0] = current
    if p.error:
        return OUTCOME_ERROR
    if p.state == STATE_READY:
        return OUTCOME_READY
    return OUTCOME_TARGET if p.state == STATE_TARGET_READY else OUTCOME_MORE


cdef inline void parser_read_accept(Parser *p) noexcept nogil:
    """Have the Accept of this request read. It is long in the requests of browsers, and few routes need it; so the
    caller decides when it knows the target."""
    p.flags |= FLAG_READS_ACCEPT


cdef inline void parser_next(Parser *p) noexcept nogil:
    """Prepare for the next request."""
    memset(p, 0, sizeof(Parser))


cdef inline bint parser_is_new(const Parser *p) noexcept nogil:
    """Whether no byte has been read since the last request."""
    return p.state == STATE_START and p.head_size == 0


cdef inline bint parser_has_begun(const Parser *p) noexcept nogil:
    """Whether a request is incomplete. Empty lines before it do not count."""
    return p.state > STATE_START_LF


cdef inline bint parser_asks_for_body(Parser *p) noexcept nogil:
    """Whether the client waits for `100 Continue` and has sent nothing of the body; only once."""
    if p.flags & FLAG_BODY_AWAITED == 0 or p.flags & FLAG_CONTINUE == 0 or p.minor == 0:
        return False
    p.flags &= ~FLAG_CONTINUE
    return True


cdef inline int parser_error_at_end(const Parser *p) noexcept nogil:
    """The error if no more bytes come; ERROR_NOTHING between two requests."""
    return ERROR_INCOMPLETE if parser_has_begun(p) else ERROR_NOTHING


cdef inline int parser_error_when_slow(const Parser *p) noexcept nogil:
    """The error if a deadline expires."""
    return ERROR_SLOW_HEAD if p.state < STATE_BODY else ERROR_SLOW_BODY


cdef inline bint parser_keeps_alive(const Parser *p) noexcept nogil:
    """Whether the connection persists after the request (RFC 9112 section 9.3)."""
    if p.flags & (FLAG_CLOSE | FLAG_BODY_LEFT):
        return False
    return p.minor != 0 or p.flags & FLAG_KEEP_ALIVE != 0


cdef inline uint64_t parser_skippable(const Parser *p) noexcept nogil:
    """The number of bytes of the body that come next and need not be read."""
    return p.number.body_left if p.state == STATE_BODY or p.state == STATE_CHUNK_DATA else 0


cdef inline void parser_skip(Parser *p, uint64_t count) noexcept nogil:
    """Skip `count` bytes of the body, at least 1 and at most parser_skippable."""
    p.flags &= ~FLAG_BODY_AWAITED
    p.number.body_left -= count
    if p.number.body_left == 0:
        p.state = STATE_READY if p.state == STATE_BODY else STATE_CHUNK_DATA_CR


cdef inline void target_begin(const Parser *p, Target *target) noexcept nogil:
    """Begin a segment."""
    target.bytes = NULL
    target.offset = p.target_length


cdef inline uint32_t target_kept(const Parser *p) noexcept nogil:
    return min(<uint32_t>p.target_length, <uint32_t>TARGET_KEPT)


cdef inline void target_keep(const Parser *p, const Target *target, uint8_t *kept) noexcept nogil:
    """Copy the part of the target that is in the segment to its place in kept[TARGET_KEPT]."""
    cdef uint32_t length = target_kept(p)
    if target.bytes != NULL and target.offset < length:
        memcpy(kept + target.offset, target.bytes, length - target.offset)


# ---- the head -----------------------------------------------------------------------------------------------------

cdef inline const uint8_t *parse_head(Parser *p, const uint8_t *pos, const uint8_t *end,
                                      Target *target) noexcept nogil:
    """Read up to the end of the target, of the head, or of the bytes, or up to an error."""
    cdef const uint8_t *begin = pos
    cdef const uint8_t *stop = end
    if end - pos > HEAD_MAX - <int>p.head_size:
        stop = pos + (HEAD_MAX - p.head_size)
    while pos != stop and not p.error:
        if p.state == STATE_START:
            pos = parse_start(p, pos)
        elif p.state == STATE_START_LF:
            pos = parse_lf(p, pos, STATE_START)
        elif p.state == STATE_METHOD:
            pos = parse_method(p, pos, stop)
        elif (p.state == STATE_TARGET or p.state == STATE_ASTERISK or p.state == STATE_SCHEME
              or p.state == STATE_SCHEME_SLASH or p.state == STATE_SCHEME_SLASHES or p.state == STATE_AUTHORITY
              or p.state == STATE_PATH or p.state == STATE_PATH_PERCENT or p.state == STATE_PATH_PERCENT_DIGIT
              or p.state == STATE_QUERY or p.state == STATE_CONNECT_TARGET):
            pos = parse_request_target(p, pos, stop, target)
        elif p.state == STATE_VERSION:
            pos = parse_http_version(p, pos, stop)
        elif p.state == STATE_VERSION_LF:
            pos = parse_lf(p, pos, STATE_FIELD_LINE)
        elif p.state == STATE_FIELD_LINE:
            pos = parse_field_line(p, pos, stop)
        elif p.state == STATE_FIELD_NAME:
            pos = parse_field_name(p, pos, stop)
        elif p.state == STATE_FIELD_VALUE:
            pos = parse_field_value(p, pos, stop)
        elif p.state == STATE_HOST:
            pos = parse_host(p, pos, stop)
        elif p.state == STATE_CONTENT_LENGTH:
            pos = parse_content_length(p, pos, stop)
        elif p.state == STATE_LIST:
            pos = parse_list(p, pos, stop)
        elif p.state == STATE_FIELD_LF:
            pos = parse_lf(p, pos, STATE_FIELD_LINE)
        elif p.state == STATE_HEAD_LF:
            pos = parse_lf(p, pos, STATE_BODY)
        else:  # STATE_TARGET_READY, STATE_BODY
            break
    p.head_size += <uint32_t>(pos - begin)
    if p.state == STATE_BODY and not p.error:
        head_complete(p)
    elif p.state < STATE_BODY and pos == stop and stop != end and not p.error:
        p.error = ERROR_HEAD_LONG
    return pos


cdef inline const uint8_t *parse_lf(Parser *p, const uint8_t *pos, uint8_t state) noexcept nogil:
    """The LF after a CR."""
    if pos[0] == LF:
        p.state = state
    else:
        p.error = ERROR_LINE_END
    return pos + 1


cdef inline const uint8_t *parse_start(Parser *p, const uint8_t *pos) noexcept nogil:
    """The CR of an empty line, or the first byte of the method, which is left to parse_method."""
    if pos[0] == CR:
        p.state = STATE_START_LF
        return pos + 1
    p.state = STATE_METHOD
    return pos


cdef inline const uint8_t *parse_method(Parser *p, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """method SP (RFC 9112 section 3.1). Its first 8 bytes become a number; no known method is longer than 7."""
    while pos != end:
        if pos[0] == SP:
            p.method = method_of(p.number.method) if p.token_length <= 8 else METHOD_UNKNOWN
            p.state = STATE_CONNECT_TARGET if p.method == METHOD_CONNECT else STATE_TARGET
            if p.token_length == 0:
                p.error = ERROR_METHOD
            return pos + 1
        if not byte_roles[pos[0]] & BYTE_TOKEN:
            p.error = ERROR_TLS if pos[0] == TLS_HANDSHAKE and p.token_length == 0 else ERROR_METHOD
            return pos + 1
        if p.token_length < 8:
            p.number.method = p.number.method << 8 | pos[0]
        if p.token_length <= 8:
            p.token_length += 1
        pos += 1
    return pos


cdef inline uint8_t method_of(uint64_t name) noexcept nogil:
    """The method of a name, which is case-sensitive (RFC 9110 section 9.1)."""
    cdef uint8_t method
    for method in range(METHOD_GET, METHODS):
        if method_names[method] == name:
            return method
    return METHOD_UNKNOWN


# ---- the target ---------------------------------------------------------------------------------------------------

cdef inline const uint8_t *parse_request_target(Parser *p, const uint8_t *pos, const uint8_t *end,
                                                Target *target) noexcept nogil:
    """request-target SP (RFC 9112 section 3.2)."""
    cdef const uint8_t *stop = end
    if p.target_length == 0 or target.bytes == NULL:
        target.bytes = pos
        target.offset = p.target_length
    if end - pos > TARGET_MAX - <int>p.target_length:
        stop = pos + (TARGET_MAX - p.target_length)
    while pos != stop and pos[0] != SP and not p.error:
        if p.state == STATE_PATH:
            pos = parse_path(p, pos, stop)
        elif p.state == STATE_QUERY:
            pos = parse_query(p, pos, stop)
        else:
            parse_target_byte(p, pos[0])
            pos += 1
    if p.error or pos == end:
        return pos
    if pos[0] == SP:
        target_complete(p)
    else:
        p.error = ERROR_TARGET_LONG
    return pos + 1


cdef inline void parse_target_byte(Parser *p, uint8_t byte) noexcept nogil:
    """A byte of the target, outside the runs of a path or query."""
    p.target_length += 1
    if p.state == STATE_TARGET:
        parse_target_form(p, byte)
    elif p.state == STATE_SCHEME:
        if byte == COLON:
            p.state = STATE_SCHEME_SLASH
        elif not byte_roles[byte] & BYTE_SCHEME:
            p.error = ERROR_TARGET
    elif p.state == STATE_SCHEME_SLASH or p.state == STATE_SCHEME_SLASHES:
        if byte != SLASH:
            p.error = ERROR_TARGET
        p.position.host = HOST_START
        p.state = STATE_SCHEME_SLASHES if p.state == STATE_SCHEME_SLASH else STATE_AUTHORITY
    elif p.state == STATE_AUTHORITY:
        parse_authority(p, byte)
    elif p.state == STATE_PATH_PERCENT or p.state == STATE_PATH_PERCENT_DIGIT:
        if not byte_roles[byte] & BYTE_HEX:
            p.error = ERROR_PERCENT
        p.state = STATE_PATH_PERCENT_DIGIT if p.state == STATE_PATH_PERCENT else STATE_PATH
    elif p.state == STATE_ASTERISK or byte <= SP or byte >= 127:  # a target of CONNECT is visible ASCII
        p.error = ERROR_TARGET


cdef inline void parse_target_form(Parser *p, uint8_t byte) noexcept nogil:
    """The first byte: origin-form, absolute-form or asterisk-form."""
    if byte == SLASH:
        p.position.segment = SEGMENT_EMPTY
        p.state = STATE_PATH
    elif byte == ASTERISK and p.method == METHOD_OPTIONS:
        p.flags |= FLAG_ASTERISK
        p.state = STATE_ASTERISK
    elif UPPER_A <= byte & 0xDF <= UPPER_Z:
        p.state = STATE_SCHEME
    else:
        p.error = ERROR_TARGET


cdef inline void parse_authority(Parser *p, uint8_t byte) noexcept nogil:
    """host [":" port] (RFC 3986 section 3.2). User information is refused, as RFC 9110 section 4.2.4 recommends."""
    if byte == SLASH or byte == QUESTION:
        if not host_is_complete(p):
            p.error = ERROR_AUTHORITY
        p.path = <uint16_t>(p.target_length - 1)
        p.path_end = p.path
        p.position.segment = SEGMENT_EMPTY
        p.state = STATE_PATH if byte == SLASH else STATE_QUERY
    elif not parse_host_byte(p, byte):
        p.error = ERROR_AUTHORITY


cdef inline bint host_is_complete(const Parser *p) noexcept nogil:
    return p.position.host == HOST_NAME or p.position.host == HOST_LITERAL_END or p.position.host == HOST_PORT


cdef inline bint parse_host_byte(Parser *p, uint8_t byte) noexcept nogil:
    """A byte of uri-host [":" port] (RFC 9110 section 7.2). False if it is not valid in its position."""
    cdef uint8_t roles = byte_roles[byte]
    cdef uint8_t host = p.position.host
    if host == HOST_PERCENT or host == HOST_PERCENT_DIGIT:
        p.position.host = HOST_PERCENT_DIGIT if host == HOST_PERCENT else HOST_NAME
        return roles & BYTE_HEX != 0
    if host == HOST_PORT:
        return roles & BYTE_DIGIT != 0
    if host == HOST_BARE_IPV6:
        return roles & BYTE_HEX != 0 or byte == COLON or byte == DOT
    if byte == BRACKET:
        if host != HOST_START:
            return False
        p.position.host = HOST_BRACKET
    elif byte == BRACKET_END:
        if host != HOST_LITERAL:
            return False
        p.position.host = HOST_LITERAL_END
    elif host == HOST_BRACKET or host == HOST_LITERAL:
        p.position.host = HOST_LITERAL
    elif byte == COLON:
        p.position.host = HOST_BARE_IPV6 if host == HOST_START else HOST_PORT
    elif host == HOST_LITERAL_END:
        return False
    else:
        p.position.host = HOST_PERCENT if byte == PERCENT else HOST_NAME
    return roles & BYTE_HOST != 0


cdef inline const uint8_t *parse_path(Parser *p, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """path-abempty (RFC 3986 section 3.3): a run of plain bytes, or one byte with a meaning."""
    cdef const uint8_t *begin = pos
    if not byte_roles[pos[0]] & BYTE_PATH:
        parse_path_delimiter(p, pos[0])
        p.target_length += 1
        return pos + 1
    while pos != end and byte_roles[pos[0]] & BYTE_PATH:
        pos += 1
    p.position.segment = SEGMENT_OTHER
    p.target_length += <uint16_t>(pos - begin)
    return pos


cdef inline void parse_path_delimiter(Parser *p, uint8_t byte) noexcept nogil:
    if byte == SLASH:
        if p.position.segment != SEGMENT_OTHER:
            p.flags |= FLAG_UNCLEAN
        p.position.segment = SEGMENT_EMPTY
    elif byte == DOT:
        if p.position.segment == SEGMENT_EMPTY:
            p.position.segment = SEGMENT_DOT
        elif p.position.segment == SEGMENT_DOT:
            p.position.segment = SEGMENT_DOTS
        else:
            p.position.segment = SEGMENT_OTHER
    elif byte == PERCENT:
        p.position.segment = SEGMENT_OTHER
        p.state = STATE_PATH_PERCENT
    elif byte == QUESTION:
        path_complete(p)
        p.state = STATE_QUERY
    else:
        p.error = ERROR_TARGET


cdef inline void path_complete(Parser *p) noexcept nogil:
    """The path ends here."""
    p.path_end = p.target_length
    if p.position.segment == SEGMENT_DOT or p.position.segment == SEGMENT_DOTS:
        p.flags |= FLAG_UNCLEAN


cdef inline const uint8_t *parse_query(Parser *p, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """query (RFC 3986 section 3.4): visible ASCII but '#'. A % without digits is accepted, as no query is decoded."""
    cdef const uint8_t *begin = pos
    while pos != end and byte_roles[pos[0]] & BYTE_QUERY:
        pos += 1
    if pos != end and pos[0] != SP:
        p.error = ERROR_TARGET
    p.target_length += <uint16_t>(pos - begin)
    return pos


cdef inline void target_complete(Parser *p) noexcept nogil:
    """The target ends here; may it?"""
    if p.state == STATE_PATH:
        path_complete(p)
    elif p.state == STATE_AUTHORITY:
        p.path = p.target_length
        p.path_end = p.target_length
        if not host_is_complete(p):
            p.error = ERROR_AUTHORITY
    elif p.state == STATE_PATH_PERCENT or p.state == STATE_PATH_PERCENT_DIGIT:
        p.error = ERROR_PERCENT
    elif (p.state == STATE_TARGET or p.state == STATE_SCHEME or p.state == STATE_SCHEME_SLASH
          or p.state == STATE_SCHEME_SLASHES or p.target_length == 0):
        p.error = ERROR_TARGET
    p.token_length = 0
    p.state = STATE_TARGET_READY


cdef inline const uint8_t *parse_http_version(Parser *p, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """HTTP-version CR (RFC 9112 section 2.3). Any 1.x is read as the highest known one (RFC 9110 section 2.5)."""
    cdef const char *pattern = "HTTP/d.d\r"
    cdef uint8_t byte
    while pos != end:
        byte = pos[0]
        pos += 1
        if pattern[p.token_length] == 100:  # 'd', a digit
            if not byte_roles[byte] & BYTE_DIGIT:
                p.error = ERROR_VERSION
                return pos
            if p.token_length == 5:
                p.position.major = <uint8_t>(byte - ZERO)
            else:
                p.minor = <uint8_t>(byte - ZERO)
        elif byte != <uint8_t>pattern[p.token_length]:
            p.error = ERROR_VERSION
            return pos
        p.token_length += 1
        if byte == CR:
            if p.position.major != 1:
                p.error = ERROR_VERSION_UNKNOWN
            p.minor = p.minor != 0
            p.state = STATE_VERSION_LF
            return pos
    return pos


# ---- fields -------------------------------------------------------------------------------------------------------

cdef inline const uint8_t *parse_field_line(Parser *p, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """The first byte of a field-line, or the CR of the empty line (RFC 9112 section 5). The rest of a field-line is
    most often there too, so each function calls the next one."""
    cdef uint8_t roles = byte_roles[pos[0]]
    if pos[0] == CR:
        p.state = STATE_HEAD_LF
        return pos + 1
    if not roles & BYTE_TOKEN:
        p.error = ERROR_FIELD_NAME
        return pos + 1
    p.candidates = (1 << WORD_ACCEPT) - 1 if roles & BYTE_FIELD else 0
    if pos[0] | 0x20 == LOWER_A and p.flags & FLAG_READS_ACCEPT:
        p.candidates = 1 << WORD_ACCEPT
    p.token_length = 0
    p.state = STATE_FIELD_NAME
    return parse_field_name(p, pos, end)


cdef inline uint8_t words_left(const char (*words)[WORD_SIZE], uint8_t candidates, uint8_t position,
                               uint8_t byte) noexcept nogil:
    """The candidates that have this byte, in either case, at this position."""
    cdef uint8_t left = 0
    cdef int word
    if UPPER_A <= byte <= UPPER_Z:
        byte |= 0x20
    while candidates:
        word = lowest_bit(candidates)
        candidates &= candidates - 1
        if <uint8_t>words[word][position] == byte:
            left |= <uint8_t>(1 << word)
    return left


cdef inline int word_complete(const char (*words)[WORD_SIZE], int count, uint8_t candidates,
                              uint8_t position) noexcept nogil:
    """The candidate that ends at this position; `count` if there is none."""
    cdef int word
    while candidates:
        word = lowest_bit(candidates)
        if words[word][position] == 0:
            return word
        candidates &= candidates - 1
    return count


cdef inline const uint8_t *parse_field_name(Parser *p, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """field-name ":" (RFC 9112 section 5.1). Most names have no candidates after a few bytes."""
    while p.candidates and pos != end and byte_roles[pos[0]] & BYTE_TOKEN:
        p.candidates = words_left(field_words, p.candidates, p.token_length, pos[0])
        p.token_length += 1  # the last column of field_words is NUL, so no candidate is left after it
        pos += 1
    while pos != end and byte_roles[pos[0]] & BYTE_TOKEN:
        pos += 1
    if pos == end:
        return pos
    if pos[0] != COLON:
        p.error = ERROR_FIELD_NAME
        return pos + 1
    pos += 1
    field_name_complete(p)
    return parse_field_value(p, pos, end) if p.state == STATE_FIELD_VALUE else pos


cdef inline void field_name_complete(Parser *p) noexcept nogil:
    """Choose the grammar of the value; a second Host or Content-Length is an error."""
    p.field = <uint8_t>word_complete(field_words, WORD_FIELDS, p.candidates, p.token_length)
    if p.field == WORD_FIELDS:
        p.state = STATE_FIELD_VALUE
    elif p.field == WORD_HOST:
        if p.flags & FLAG_HOST:
            p.error = ERROR_HOST_TWICE
        p.flags |= FLAG_HOST
        p.position.host = HOST_START
        p.state = STATE_HOST
    elif p.field == WORD_CONTENT_LENGTH:
        if p.flags & FLAG_LENGTH:
            p.error = ERROR_LENGTH_TWICE
        p.flags |= FLAG_LENGTH
        p.number.content_length = 0
        p.position.value = VALUE_START
        p.state = STATE_CONTENT_LENGTH
    else:
        if p.field == WORD_TRANSFER_ENCODING:
            p.flags |= FLAG_CODING
        element_begin(p)
        p.state = STATE_LIST


cdef inline const uint8_t *parse_field_value(Parser *p, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """field-value CR (RFC 9110 section 5.5) of a field that is not read."""
    pos = scan_value(pos, end)
    if pos == end:
        return pos
    if pos[0] != CR:
        p.error = ERROR_LINE_END if pos[0] == LF else ERROR_FIELD_VALUE
        return pos + 1
    pos += 1
    p.state = STATE_FIELD_LF
    return pos if pos == end else parse_lf(p, pos, STATE_FIELD_LINE)


cdef inline const uint8_t *parse_host(Parser *p, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """OWS [ uri-host [ ":" port ] ] OWS CR (RFC 9112 section 3.2). `::1` without brackets is accepted, as clients send
    it and it is not ambiguous."""
    cdef uint8_t byte
    while pos != end and not p.error:
        if p.position.host == HOST_NAME:
            pos = scan_host_name(pos, end)
            if pos == end:
                break
        byte = pos[0]
        pos += 1
        if byte == SP or byte == HTAB or byte == CR:
            if (p.position.host != HOST_START and p.position.host != HOST_END and p.position.host != HOST_BARE_IPV6
                    and not host_is_complete(p)):
                p.error = ERROR_HOST
            if byte == CR:
                p.state = STATE_FIELD_LF
                return pos
            if p.position.host != HOST_START:
                p.position.host = HOST_END
        elif p.position.host == HOST_END or not parse_host_byte(p, byte):
            p.error = ERROR_HOST
    return pos


cdef inline const uint8_t *scan_host_name(const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """The end of a run of bytes that can only belong to a name: neither `:`, brackets nor `%`."""
    while (pos != end and byte_roles[pos[0]] & (BYTE_HOST | BYTE_TOKEN) == (BYTE_HOST | BYTE_TOKEN)
           and pos[0] != PERCENT):
        pos += 1
    return pos


cdef inline const uint8_t *parse_content_length(Parser *p, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """OWS 1*DIGIT OWS CR (RFC 9110 section 8.6)."""
    cdef uint64_t digit
    while pos != end:
        if byte_roles[pos[0]] & BYTE_DIGIT and p.position.value != VALUE_SPACE:
            digit = pos[0] - ZERO
            if p.number.content_length > (<uint64_t>INT64_MAX - digit) / 10:
                p.error = ERROR_LENGTH
                return pos + 1
            p.number.content_length = p.number.content_length * 10 + digit
            p.position.value = VALUE_TOKEN
        elif pos[0] == SP or pos[0] == HTAB:
            if p.position.value == VALUE_TOKEN:
                p.position.value = VALUE_SPACE
        else:
            if pos[0] == CR and p.position.value != VALUE_START:
                p.state = STATE_FIELD_LF
            else:
                p.error = ERROR_LENGTH
            return pos + 1
        pos += 1
    return pos


cdef inline void element_begin(Parser *p) noexcept nogil:
    p.candidates = (1 << WORD_VALUES) - 1
    p.token_length = 0
    p.position.value = VALUE_START


cdef inline const uint8_t *parse_list(Parser *p, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """#element CR (RFC 9110 section 5.6.1), the value of Connection, Transfer-Encoding, Expect or Accept."""
    cdef uint8_t byte
    while pos != end:
        byte = pos[0]
        pos += 1
        if byte == CR or byte == COMMA:
            element_complete(p)
            if byte == CR:
                p.state = STATE_FIELD_LF
                return pos
            element_begin(p)
        elif byte == SP or byte == HTAB:
            if p.position.value == VALUE_TOKEN:
                p.position.value = VALUE_SPACE
        elif byte == SEMICOLON and p.field == WORD_ACCEPT:
            element_complete(p)
            p.candidates = 0  # parameters follow
        elif byte_in_value(byte) or p.field == WORD_TRANSFER_ENCODING and byte != LF and byte != 0:
            # a control byte in Transfer-Encoding makes an unknown coding, which has an error of its own
            if p.position.value == VALUE_SPACE:
                p.candidates = 0
            p.candidates = words_left(value_words, p.candidates, p.token_length, byte)
            if p.token_length < WORD_SIZE - 1:
                p.token_length += 1
            p.position.value = VALUE_TOKEN
        else:
            p.error = ERROR_LINE_END if byte == LF else ERROR_FIELD_VALUE
            return pos
    return pos


cdef inline void element_complete(Parser *p) noexcept nogil:
    """Note an element of the list; an empty one is no word."""
    cdef int word = word_complete(value_words, WORD_VALUES, p.candidates, p.token_length)
    if p.field == WORD_CONNECTION:
        if word == WORD_CLOSE:
            p.flags |= FLAG_CLOSE
        elif word == WORD_KEEP_ALIVE:
            p.flags |= FLAG_KEEP_ALIVE
    elif p.field == WORD_EXPECT:
        if word == WORD_CONTINUE:
            p.flags |= FLAG_CONTINUE
        elif p.token_length:
            p.flags |= FLAG_OTHER_EXPECTATION
    elif p.field == WORD_ACCEPT:
        if word == WORD_TEXT_PLAIN:
            p.flags |= FLAG_TEXT_PLAIN
    elif p.flags & FLAG_CHUNKED:
        p.flags |= FLAG_AFTER_CHUNKED
    elif word == WORD_CHUNKED:
        p.flags |= FLAG_CHUNKED
    else:
        p.flags |= FLAG_UNKNOWN_CODING


cdef inline int head_error(const Parser *p) noexcept nogil:
    """The errors that depend on the whole head."""
    if p.method == METHOD_CONNECT or p.method == METHOD_TRACE:
        return ERROR_METHOD_REFUSED
    if p.method == METHOD_UNKNOWN:
        return ERROR_METHOD_UNKNOWN
    if p.minor and not p.flags & FLAG_HOST:
        return ERROR_HOST_MISSING
    if p.flags & FLAG_CODING:
        if not p.minor:
            return ERROR_CODING_IN_1_0
        if p.flags & FLAG_LENGTH:
            return ERROR_LENGTH_AND_CODING
        if p.flags & FLAG_AFTER_CHUNKED:
            return ERROR_CODING_ORDER
        if p.flags & FLAG_UNKNOWN_CODING:
            return ERROR_CODING_UNKNOWN
    if p.flags & FLAG_OTHER_EXPECTATION:
        return ERROR_EXPECTATION
    return ERROR_NOTHING


cdef inline void head_complete(Parser *p) noexcept nogil:
    """Find how the body is framed, if there is one (RFC 9112 section 6.3)."""
    cdef bint chunked = p.flags & FLAG_CODING != 0
    p.error = <uint8_t>head_error(p)
    p.number.body_left = p.number.content_length if p.flags & FLAG_LENGTH else 0
    if not chunked and p.number.body_left == 0:
        p.state = STATE_READY
    elif p.flags & FLAG_CONTINUE and p.minor and (chunked or p.number.body_left <= LONG_BODY):
        # The client waits for the response before it sends the body (RFC 9110 section 10.1.1; 1.0 has no expectations).
        # It may send none, or all of it, so this ends the connection. A proxy may not tell that to the client, and may
        # give up a long body that is answered before its end, so a long one is asked for.
        p.flags |= FLAG_BODY_LEFT
        p.state = STATE_READY
    elif chunked:
        chunk_begin(p)
    elif p.number.body_left > LONG_BODY:
        p.flags |= FLAG_BODY_AWAITED


# ---- the body -----------------------------------------------------------------------------------------------------

cdef inline const uint8_t *parse_body(Parser *p, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    cdef uint64_t count
    if p.state == STATE_BODY or p.state == STATE_CHUNK_DATA:
        count = min(<uint64_t>(end - pos), p.number.body_left)
        parser_skip(p, count)
        return pos + count
    if p.state < STATE_CHUNK_LF:
        parse_chunk_line(p, pos[0])
    elif p.state < STATE_TRAILER:
        parse_chunk_end(p, pos[0])
    else:
        return parse_trailer_section(p, pos)
    return pos + 1


cdef inline void chunk_begin(Parser *p) noexcept nogil:
    p.number.body_left = 0
    p.chunk_line = 0
    p.token_length = 0
    p.state = STATE_CHUNK_SIZE


cdef inline void parse_chunk_line(Parser *p, uint8_t byte) noexcept nogil:
    """A byte of chunk-size [ chunk-ext ] CR (RFC 9112 section 7.1). Extensions are not read."""
    p.chunk_line += 1
    if byte == CR:
        if p.token_length == 0:
            p.error = ERROR_CHUNK_SIZE
        elif p.state == STATE_CHUNK_SPACE:
            p.error = ERROR_LINE_END
        p.state = STATE_CHUNK_LF
    elif p.chunk_line > CHUNK_LINE_MAX:
        p.error = ERROR_CHUNK_LINE
    elif p.state == STATE_CHUNK_EXTENSION:
        if not byte_in_value(byte):
            p.error = ERROR_LINE_END if byte == LF else ERROR_CHUNK_SIZE
        count_chunk_extra(p)
    elif byte == SEMICOLON and p.token_length:
        p.state = STATE_CHUNK_EXTENSION
        count_chunk_extra(p)
    elif (byte == SP or byte == HTAB) and p.token_length:
        p.state = STATE_CHUNK_SPACE
        count_chunk_extra(p)
    elif byte_roles[byte] & BYTE_HEX and p.state == STATE_CHUNK_SIZE and p.token_length < 16:
        p.number.body_left = p.number.body_left << 4 | ((byte & 15) if byte <= NINE else (byte & 15) + 9)
        p.token_length += 1
    else:
        p.error = ERROR_LINE_END if byte == LF else ERROR_CHUNK_SIZE


cdef inline void count_chunk_extra(Parser *p) noexcept nogil:
    """Count a byte of an extension or trailer."""
    p.chunk_extra += 1
    if p.chunk_extra > CHUNK_EXTRA_MAX:
        p.error = ERROR_CHUNK_EXTRA


cdef inline void parse_chunk_end(Parser *p, uint8_t byte) noexcept nogil:
    """The LF after the chunk line, or the CR LF after the chunk data."""
    if p.state == STATE_CHUNK_DATA_CR:
        p.state = STATE_CHUNK_DATA_LF
        if byte != CR:
            p.error = ERROR_CHUNK_END
    elif byte != LF:
        p.error = ERROR_LINE_END if p.state == STATE_CHUNK_LF else ERROR_CHUNK_END
    elif p.state == STATE_CHUNK_DATA_LF:
        chunk_begin(p)
    elif p.number.body_left == 0:
        p.state = STATE_TRAILER
    else:
        p.state = STATE_CHUNK_DATA


cdef inline const uint8_t *parse_trailer_section(Parser *p, const uint8_t *pos) noexcept nogil:
    """trailer-section CR LF (RFC 9112 section 7.1.2). Trailer fields are not read."""
    cdef uint8_t byte = pos[0]
    if p.state == STATE_TRAILERS_LF or p.state == STATE_TRAILER_LF:
        return parse_lf(p, pos, STATE_READY if p.state == STATE_TRAILERS_LF else STATE_TRAILER)
    if p.state == STATE_TRAILER and byte == CR:
        p.state = STATE_TRAILERS_LF
        return pos + 1
    count_chunk_extra(p)
    if p.state == STATE_TRAILER_VALUE:
        if byte == CR:
            p.state = STATE_TRAILER_LF
        elif not byte_in_value(byte):
            p.error = ERROR_LINE_END if byte == LF else ERROR_FIELD_VALUE
    elif byte_roles[byte] & BYTE_TOKEN:
        p.state = STATE_TRAILER_NAME
    elif byte == COLON and p.state == STATE_TRAILER_NAME:
        p.state = STATE_TRAILER_VALUE
    else:
        p.error = ERROR_FIELD_NAME
    return pos + 1
