"""The parser of requests: bytes of a connection -> one framed request after another, or an error.

It is a state machine over the grammar of RFC 9112 (HTTP/1.1), RFC 9110 (fields) and RFC 3986 (targets). It reads only
the fields that decide where a request ends, whether the connection persists, and which response is due. Its rules:

1.  The state of a request is a `Parser` of 40 bytes; the parser copies nothing and allocates nothing. Segments may be
    cut anywhere without a change of the outcome. A usual line that lies whole in a segment is read at once; any other
    is left, from its beginning, to the functions that read byte by byte. Only these find errors.
2.  The first byte that cannot belong to a valid request is an error at once. Errors that depend on the whole head are
    found at its end, or where it becomes too long: first the method, then Host and framing, then valid requests that
    are not supported.
3.  Lines end in CR LF only. RFC 9112 section 2.2 allows a server to accept a bare LF, but two parsers that differ in
    this allow request smuggling. Empty lines before a request are skipped, as that section requires.
4.  Nothing is repaired. These are errors: a space before a colon, a folded line (section 5.2), a second Host (section
    3.2) or Content-Length (section 6.3), Transfer-Encoding beside Content-Length or in HTTP/1.0 (section 6.1), a sign,
    list or prefix in a length, and chunked anywhere but once and last (section 7).
5.  Every error ends the connection, as the start of the next request is then unknown.

`parser_feed` is the entry point.
"""

from libc.stdint cimport INT64_MAX, uint16_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memcmp, memcpy, memset

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
        WORD_VALUES
        RANGE_ANY
        RANGE_APPLICATION
        RANGE_TEXT
        RANGE_JSON
        RANGE_TEXT_PLAIN
        RANGES
        PARAMETER_QUALITY
        PARAMETER_UTF_8
        PARAMETER_UTF_8_QUOTED
        WORD_ACCEPTS
        WORD_SIZE
    int lowest_bit(unsigned int set)
    const uint8_t byte_roles[256]
    const uint64_t method_names[10]
    const uint64_t NAME_PRI
    const uint64_t NAME_PROXY
    const uint64_t NAME_SSH
    const char field_words[6][WORD_SIZE]
    const char value_words[4][WORD_SIZE]
    const char accept_words[8][WORD_SIZE]

cdef extern from "simd_scan.h" nogil:
    bint byte_in_value(uint8_t byte)
    const uint8_t *scan_value(const uint8_t *begin, const uint8_t *pos, const uint8_t *end)
    const uint8_t *scan_name(const uint8_t *begin, const uint8_t *pos, const uint8_t *end)
    bint is_word(const uint8_t *pos, ptrdiff_t length, const uint8_t *end, const char *word)

cdef extern from "http_errors.h" nogil:
    enum:
        ERROR_NOTHING
        ERROR_METHOD
        ERROR_TLS
        ERROR_HTTP_2
        ERROR_PROXY_HEADER
        ERROR_PROXY_MISSING
        ERROR_PROXY_TWICE
        ERROR_PROXY_WRONG
        ERROR_SSH
        ERROR_SOCKS
        ERROR_TARGET
        ERROR_PERCENT
        ERROR_AUTHORITY
        ERROR_VERSION
        ERROR_VERSION_MISSING
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
        ERROR_CHUNK_EXTENSION
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
    LONG_BODY = 256 * 1024  # bytes: if a longer body does not begin to come, the response does not wait for it
    CHUNK_LINE_MAX = 4 * 1024  # bytes, without its CR LF
    CHUNK_EXTRA_MAX = 16 * 1024  # bytes of extensions and trailers in one body
    TARGET_KEPT = 256  # bytes of a target that are kept for its response
    METHOD_MAX = 7  # bytes of the longest method that is known
    OCTET_MAX = 0x255  # the greatest octet of an IPv4 address, its decimal digits as hexadecimal ones

cdef enum:  # bytes with a meaning in the grammar
    NUL = 0
    SOCKS_4 = 4
    SOCKS_5 = 5
    HTAB = 9
    LF = 10
    CR = 13
    TLS_HANDSHAKE = 22
    SP = 32
    QUOTE = 34
    PERCENT = 37
    ASTERISK = 42
    COMMA = 44
    DOT = 46
    SLASH = 47
    ZERO = 48
    NINE = 57
    COLON = 58
    SEMICOLON = 59
    EQUALS = 61
    QUESTION = 63
    UPPER_A = 65
    UPPER_T = 84
    UPPER_U = 85
    UPPER_Z = 90
    BRACKET = 91
    BACKSLASH = 92
    BRACKET_END = 93
    LOWER_A = 97
    LOWER_V = 118

cdef enum State:  # in the order of a request
    STATE_START  # before the method; empty lines are skipped
    STATE_START_LF
    STATE_METHOD
    STATE_TARGET  # at the first byte of the target, which decides its form
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
    STATE_LIST  # of Connection, Transfer-Encoding or Expect
    STATE_ACCEPT
    STATE_FIELD_LF
    STATE_HEAD_LF
    STATE_BODY  # the head is complete from here on
    STATE_CHUNK_SIZE
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
    FLAG_BARE_ADDRESS = 1 << 14  # Host is an IPv6 address without brackets
    FLAG_BODY_AWAITED = 1 << 15  # a long body is announced, and no byte of it has come

cdef enum Host:  # the position in uri-host [":" port]
    HOST_START
    HOST_NAME
    HOST_PERCENT
    HOST_PERCENT_DIGIT
    HOST_LITERAL_END  # after the ] of an IP literal
    HOST_PORT
    HOST_END  # only spaces may follow
    HOST_BRACKET  # after the [ of an IP literal; the next states are within it, or in an IPv6 address without brackets
    HOST_FIRST_COLON  # of the two that an address may begin with
    HOST_GROUP  # 1 to 4 hexadecimal digits
    HOST_COLON  # between two groups
    HOST_COLONS  # :: in place of one or more groups that are 0
    HOST_OCTET  # of the IPv4 address at the end
    HOST_DOT
    HOST_VERSION  # of an IPvFuture address
    HOST_VERSION_DOT
    HOST_FUTURE  # its address

cdef enum Segment:  # what the segment of the path is so far
    SEGMENT_EMPTY
    SEGMENT_DOT
    SEGMENT_DOTS
    SEGMENT_OTHER

cdef enum:  # what Accept says about a type: the specificity of a range, above its quality
    QUALITY_MAX = 1000
    QUALITY_MASK = 1023
    SPECIFICITY = 1024

cdef enum Value:  # the position in a Content-Length, or in an element of a list
    VALUE_START
    VALUE_TOKEN
    VALUE_SPACE  # after the token
    VALUE_QUOTED  # in a quoted string
    VALUE_ESCAPED  # after a backslash in it

cdef enum Extension:  # the position in *( BWS ";" BWS name [ BWS "=" BWS value ] ) behind a chunk size
    EXTENSION_SPACE  # only ; may follow
    EXTENSION_START  # a name must follow
    EXTENSION_NAME
    EXTENSION_NAME_SPACE  # only = or ; may follow
    EXTENSION_EQUALS  # a value must follow
    EXTENSION_TOKEN
    EXTENSION_QUOTED
    EXTENSION_ESCAPED
    EXTENSION_QUOTED_END

cdef enum RangePart:  # of an element of Accept
    PART_RANGE
    PART_PARAMETER
    PART_QUALITY  # the digits before the dot
    PART_FRACTION  # those behind it
    PART_REST  # after the quality

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
    uint8_t extension  # enum Extension

cdef struct IpAddress:  # the part of an IPv6 address that is read
    uint16_t digits  # of the current group or octet, as one hexadecimal number
    uint8_t parts  # its groups; once there is a dot, the octets of the IPv4 address at its end
    uint8_t compressed  # whether there is a ::

cdef struct MediaRange:  # the part of an element of Accept that is read
    uint16_t quality  # in thousandths
    uint8_t name  # the one of accept_words, or WORD_ACCEPTS
    uint8_t part  # enum RangePart

cdef union Item:  # by the state
    IpAddress address
    MediaRange range

cdef struct HeadPart:  # of the state, within a head
    uint32_t size  # bytes so far
    Item item

cdef union Part:
    HeadPart head
    uint64_t body_size  # bytes of content so far, once the head is complete

cdef struct Parser:
    Number number
    Part part
    uint16_t target_length  # bytes of the target so far
    uint16_t path  # offset in the target at which its path begins
    uint16_t path_end  # offset at which it ends
    uint16_t chunk_line  # bytes of the chunk line so far
    uint16_t chunk_extra  # bytes of chunk extensions and trailers so far
    uint16_t flags  # a set of Flag
    uint16_t json  # the preference of Accept for JSON: a specificity and a quality
    uint16_t text  # likewise for plain text
    uint8_t state
    uint8_t method
    uint8_t minor  # of the version: 0 or 1
    uint8_t field  # the one of field_words whose value is read
    uint8_t candidates  # the set of words that can begin with the token so far
    uint8_t token_length  # bytes of the token so far (method, version, name, list element, digits), or empty lines
    Position position
    uint8_t error

# The part of a target that is in the current segment, and the end of the head.
cdef struct Target:
    const uint8_t *bytes  # NULL if there is none
    const uint8_t *head_end  # of the last head that ends in the segment
    uint32_t offset  # of these bytes in the target


cdef inline int parser_feed(Parser *p, const uint8_t **pos, const uint8_t *end, Target *target) noexcept nogil:
    """Read [*pos, end) as far as the end of a request. Call `target_begin` before a segment is fed.

    OUTCOME_MORE: all bytes are read, and the request is incomplete.
    OUTCOME_TARGET: the target is complete. The caller may call `parser_read_accept`, and feeds the rest.
    OUTCOME_READY: the request ends before *pos; `p` describes it until `parser_next`.
    OUTCOME_ERROR: the error is p.error; *pos is behind the byte that caused it.
    """
    cdef const uint8_t *current = pos[0]
    if parser_is_new(p):
        pos[0] = parse_whole_request_line(p, current, end, target)
        if pos[0] != current:
            return OUTCOME_TARGET
    if p.state == STATE_TARGET_READY:
        p.state = STATE_VERSION
    if p.state < STATE_BODY and current != end and not p.error:
        current = parse_head(p, current, end, target)
        target.head_end = current
    while STATE_BODY <= p.state < STATE_READY and current != end and not p.error:
        current = parse_body(p, current, end)
    pos[0] = current
    if p.error:
        return OUTCOME_ERROR
    if p.state == STATE_READY:
        return OUTCOME_READY
    return OUTCOME_TARGET if p.state == STATE_TARGET_READY else OUTCOME_MORE


cdef inline void parser_read_accept(Parser *p) noexcept nogil:
    """Have the Accept of this request read. Browsers send a long one and few routes need it, so the caller decides when
    it knows the target."""
    p.flags |= FLAG_READS_ACCEPT


cdef inline void parser_next(Parser *p) noexcept nogil:
    """Prepare for the next request."""
    memset(p, 0, sizeof(Parser))


cdef inline bint parser_is_new(const Parser *p) noexcept nogil:
    """Whether no byte has been read since the last request."""
    return p.state == STATE_START and p.part.head.size == 0


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


cdef inline bint parser_prefers_text(const Parser *p) noexcept nogil:
    """Whether Accept prefers plain text to JSON (RFC 9110 section 12.5.1). Equal qualities, and none, mean JSON."""
    return p.text & QUALITY_MASK > p.json & QUALITY_MASK


cdef inline uint64_t parser_skippable(const Parser *p) noexcept nogil:
    """The number of bytes of the body that come next and need not be read."""
    return p.number.body_left if p.state == STATE_BODY or p.state == STATE_CHUNK_DATA else 0


cdef inline void parser_skip(Parser *p, uint64_t count) noexcept nogil:
    """Skip `count` bytes of the body, at least 1 and at most parser_skippable."""
    p.flags &= ~FLAG_BODY_AWAITED
    p.number.body_left -= count
    p.part.body_size += count
    if p.number.body_left == 0:
        p.state = STATE_READY if p.state == STATE_BODY else STATE_CHUNK_DATA_CR


cdef inline void target_begin(const Parser *p, Target *target) noexcept nogil:
    """Begin a segment."""
    target.bytes = NULL
    target.head_end = NULL
    target.offset = p.target_length


cdef inline uint32_t target_kept(const Parser *p) noexcept nogil:
    return min(<uint32_t>p.target_length, <uint32_t>TARGET_KEPT)


cdef inline void target_keep(const Parser *p, const Target *target, uint8_t *kept) noexcept nogil:
    """Copy the part of the target that is in the segment to its place in kept[TARGET_KEPT]."""
    cdef uint32_t length = target_kept(p)
    if target.bytes != NULL and target.offset < length:
        memcpy(kept + target.offset, target.bytes, length - target.offset)


# ---- the head -----------------------------------------------------------------------------------------------------

cdef inline const uint8_t *parse_whole_request_line(Parser *p, const uint8_t *pos, const uint8_t *end,
                                                    Target *target) noexcept nogil:
    """Read a request-line of the usual form that lies whole in the segment: GET, a path without dots, `%` and empty
    segments, HTTP/1.1. Any other one is left to the functions that read byte by byte, with the same outcome."""
    cdef const uint8_t *path = pos + 4
    cdef const uint8_t *path_end = pos + 5
    if not 16 <= end - pos <= TARGET_MAX or memcmp(pos, "GET /", 5) != 0:
        return pos
    while (path_end != end and (byte_roles[path_end[0]] & BYTE_PATH
                                or path_end[0] == SLASH and (path_end - 1)[0] != SLASH)):
        path_end += 1
    if end - path_end < 11 or memcmp(path_end, " HTTP/1.1\r\n", 11) != 0:
        return pos
    p.method = METHOD_GET
    p.minor = 1
    p.target_length = <uint16_t>(path_end - path)
    p.path_end = p.target_length
    p.part.head.size = <uint32_t>(path_end + 11 - pos)
    p.state = STATE_FIELD_LINE
    target.bytes = path
    target.offset = 0
    return path_end + 11


cdef inline const uint8_t *parse_head(Parser *p, const uint8_t *pos, const uint8_t *end,
                                      Target *target) noexcept nogil:
    """Read up to the end of the target, of the head, or of the bytes, or up to an error."""
    cdef const uint8_t *begin = pos
    cdef const uint8_t *stop = end
    if end - pos > HEAD_MAX - <int>p.part.head.size:
        stop = pos + (HEAD_MAX - p.part.head.size)
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
            pos = parse_field_line(p, begin, pos, stop)
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
        elif p.state == STATE_ACCEPT:
            pos = parse_accept(p, pos, stop)
        elif p.state == STATE_FIELD_LF:
            pos = parse_lf(p, pos, STATE_FIELD_LINE)
        elif p.state == STATE_HEAD_LF:
            pos = parse_lf(p, pos, STATE_BODY)
        else:  # STATE_TARGET_READY, STATE_BODY
            break
    p.part.head.size += <uint32_t>(pos - begin)
    if p.state == STATE_BODY and not p.error:
        head_complete(p)
    elif p.state < STATE_BODY and pos == stop and stop != end and not p.error:
        p.error = <uint8_t>long_head_error(p)
    return pos


cdef inline int long_head_error(const Parser *p) noexcept nogil:
    """The error for a head that is too long. An unknown method comes first, however long it is (RFC 9112 section 3)."""
    if p.state == STATE_METHOD and p.token_length > METHOD_MAX:
        return ERROR_METHOD_UNKNOWN
    if p.state > STATE_METHOD and p.method == METHOD_UNKNOWN:
        return ERROR_METHOD_UNKNOWN
    return ERROR_HEAD_LONG


cdef inline const uint8_t *parse_lf(Parser *p, const uint8_t *pos, uint8_t state) noexcept nogil:
    """The LF after a CR."""
    if pos[0] == LF:
        p.state = state
    else:
        p.error = ERROR_LINE_END
    return pos + 1


cdef inline const uint8_t *parse_start(Parser *p, const uint8_t *pos) noexcept nogil:
    """The CR of an empty line, or the first byte of the method, which is left to parse_method. Two empty lines and a
    NUL begin the header of the PROXY protocol, version 2."""
    if pos[0] == CR:
        p.token_length = 1 if p.token_length == 0 else 2
        p.state = STATE_START_LF
        return pos + 1
    if pos[0] == NUL and p.token_length == 2:
        p.error = ERROR_PROXY_HEADER
        return pos + 1
    p.token_length = 0
    p.state = STATE_METHOD
    return pos


cdef inline const uint8_t *parse_method(Parser *p, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """method SP (RFC 9112 section 3.1). Its first 8 bytes become a number; no known method is as long."""
    while pos != end:
        if pos[0] == SP:
            p.method = method_of(p.number.method) if p.token_length <= 8 else METHOD_UNKNOWN
            p.state = STATE_CONNECT_TARGET if p.method == METHOD_CONNECT else STATE_TARGET
            if p.token_length == 0:
                p.error = ERROR_METHOD
            return pos + 1
        if not byte_roles[pos[0]] & BYTE_TOKEN:
            p.error = <uint8_t>method_error(p, pos[0])
            return pos + 1
        if p.token_length < 8:
            p.number.method = p.number.method << 8 | pos[0]
        if p.token_length <= 8:
            p.token_length += 1
        pos += 1
    return pos


cdef inline int method_error(const Parser *p, uint8_t byte) noexcept nogil:
    """The error for a byte that no method has. The first bytes identify some other protocols."""
    if p.token_length == 0 and byte == TLS_HANDSHAKE:
        return ERROR_TLS
    if p.token_length == 0 and (byte == SOCKS_4 or byte == SOCKS_5):
        return ERROR_SOCKS
    return ERROR_SSH if p.number.method >> 32 == NAME_SSH else ERROR_METHOD


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
    elif p.number.method == NAME_PRI and byte == ASTERISK:
        p.error = ERROR_HTTP_2
    elif p.number.method == NAME_PROXY and (byte == UPPER_T or byte == UPPER_U):  # TCP4, TCP6 or UNKNOWN
        p.error = ERROR_PROXY_HEADER
    elif p.number.method >> 32 == NAME_SSH:
        p.error = ERROR_SSH
    elif UPPER_A <= byte & 0xDF <= UPPER_Z:
        p.state = STATE_SCHEME
    else:
        p.error = ERROR_TARGET


cdef inline int target_error(uint8_t byte) noexcept nogil:
    """The error for a byte that no path or query has."""
    return ERROR_VERSION_MISSING if byte == CR or byte == LF else ERROR_TARGET


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
    if host >= HOST_BRACKET:
        return parse_literal_byte(p, byte)
    if host == HOST_PERCENT or host == HOST_PERCENT_DIGIT:
        p.position.host = HOST_PERCENT_DIGIT if host == HOST_PERCENT else HOST_NAME
        return roles & BYTE_HEX != 0
    if host == HOST_PORT:
        return roles & BYTE_DIGIT != 0
    if host == HOST_START and (byte == BRACKET or byte == COLON):
        memset(&p.part.head.item.address, 0, sizeof(IpAddress))
        p.position.host = HOST_BRACKET
        if byte == COLON:
            p.flags |= FLAG_BARE_ADDRESS
            p.position.host = HOST_FIRST_COLON
        return True
    if byte == COLON:
        p.position.host = HOST_PORT
        return True
    if host == HOST_LITERAL_END or byte == BRACKET or byte == BRACKET_END:
        return False
    p.position.host = HOST_PERCENT if byte == PERCENT else HOST_NAME
    return roles & BYTE_HOST != 0


cdef inline bint parse_literal_byte(Parser *p, uint8_t byte) noexcept nogil:
    """A byte of IP-literal after its [, or of an IPv6 address without brackets (RFC 3986 section 3.2.2). Zone
    identifiers are no part of it (RFC 9844), and clients leave them out."""
    cdef uint8_t roles = byte_roles[byte]
    cdef uint8_t host = p.position.host
    cdef bint complete
    if byte == BRACKET_END:
        complete = literal_is_complete(p) and not p.flags & FLAG_BARE_ADDRESS
        p.position.host = HOST_LITERAL_END
        return complete
    if host == HOST_BRACKET and byte | 0x20 == LOWER_V:
        p.token_length = 0
        p.position.host = HOST_VERSION
        return True
    if host == HOST_VERSION and roles & BYTE_HEX:
        p.token_length = 1
        return True
    if host == HOST_VERSION:
        p.position.host = HOST_VERSION_DOT
        return byte == DOT and p.token_length != 0
    if host == HOST_VERSION_DOT or host == HOST_FUTURE:
        p.position.host = HOST_FUTURE
        return roles & BYTE_HOST != 0 and byte != BRACKET and byte != PERCENT
    if roles & BYTE_HEX:
        return parse_address_digit(p, byte)
    if byte == COLON:
        return parse_address_colon(p)
    return byte == DOT and parse_address_dot(p)


cdef inline bint parse_address_digit(Parser *p, uint8_t byte) noexcept nogil:
    """A digit of a group of 16 bits, or of an octet. An IPv6 address has 8 groups, and with :: at most 7."""
    cdef IpAddress *address = &p.part.head.item.address
    if p.position.host == HOST_FIRST_COLON:
        return False
    if p.position.host != HOST_GROUP and p.position.host != HOST_OCTET:
        p.position.host = HOST_OCTET if p.position.host == HOST_DOT else HOST_GROUP
        p.token_length = 0
        address.digits = 0
        address.parts += 1
        if address.parts > (4 if p.position.host == HOST_OCTET else 8 - address.compressed):
            return False
    address.digits = <uint16_t>(address.digits << 4 | digit_value(byte))
    p.token_length += 1
    return p.token_length <= 4


cdef inline bint parse_address_colon(Parser *p) noexcept nogil:
    """The colon after a group, or one of ::, which stands for one or more groups, once."""
    if p.position.host == HOST_GROUP:
        p.position.host = HOST_COLON
        return True
    if p.position.host == HOST_BRACKET:
        p.position.host = HOST_FIRST_COLON
        return True
    if p.position.host != HOST_COLON and p.position.host != HOST_FIRST_COLON or p.part.head.item.address.compressed:
        return False
    p.part.head.item.address.compressed = True
    p.position.host = HOST_COLONS
    return p.part.head.item.address.parts < 8


cdef inline bint parse_address_dot(Parser *p) noexcept nogil:
    """The dot after an octet. The first dot shows that the digits begin an IPv4 address, not a group. The address
    stands for the last two groups."""
    cdef IpAddress *address = &p.part.head.item.address
    if p.position.host == HOST_GROUP:
        if address.parts > 6 if address.compressed else address.parts != 7:
            return False
        address.parts = 1
    elif p.position.host != HOST_OCTET:
        return False
    p.position.host = HOST_DOT
    return is_octet(p)


cdef inline bint literal_is_complete(const Parser *p) noexcept nogil:
    if p.position.host == HOST_GROUP:
        return p.part.head.item.address.compressed or p.part.head.item.address.parts == 8
    if p.position.host == HOST_OCTET:
        return p.part.head.item.address.parts == 4 and is_octet(p)
    return p.position.host == HOST_COLONS or p.position.host == HOST_FUTURE


cdef inline bint is_octet(const Parser *p) noexcept nogil:
    """Whether the current digits are dec-octet: 0 to 255 in decimal, without a leading zero."""
    cdef uint16_t digits = p.part.head.item.address.digits
    if digits > OCTET_MAX or digits & 15 > 9 or digits >> 4 & 15 > 9:
        return False
    return p.token_length == 1 or digits >> 4 * (p.token_length - 1) != 0


cdef inline uint8_t digit_value(uint8_t byte) noexcept nogil:
    """The value of a byte that is a hexadecimal digit."""
    return <uint8_t>((byte & 15) if byte <= NINE else (byte & 15) + 9)


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
        p.error = <uint8_t>target_error(byte)


cdef inline void path_complete(Parser *p) noexcept nogil:
    """The path ends here."""
    p.path_end = p.target_length
    if p.position.segment == SEGMENT_DOT or p.position.segment == SEGMENT_DOTS:
        p.flags |= FLAG_UNCLEAN


cdef inline const uint8_t *parse_query(Parser *p, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """query (RFC 3986 section 3.4): any byte but '#', SP and control bytes. A % without digits is accepted, as no query
    is decoded."""
    cdef const uint8_t *begin = pos
    while pos != end and byte_roles[pos[0]] & BYTE_QUERY:
        pos += 1
    if pos != end and pos[0] != SP:
        p.error = <uint8_t>target_error(pos[0])
    p.target_length += <uint16_t>(pos - begin)
    return pos


cdef inline void target_complete(Parser *p) noexcept nogil:
    """The target ends here; set an error if it is incomplete."""
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

cdef inline const uint8_t *parse_whole_lines(Parser *p, const uint8_t *begin, const uint8_t *pos,
                                             const uint8_t *end) noexcept nogil:
    """Read the field-lines of usual forms that lie whole in the segment [begin, end): those that other functions would
    read byte by byte, with the same outcome. Any other line, and whatever is wrong, is left to these functions."""
    cdef const uint8_t *name_end
    cdef const uint8_t *value_end
    cdef uint8_t roles
    while pos != end:
        roles = byte_roles[pos[0]]
        if not roles & BYTE_TOKEN:
            break
        name_end = scan_name(begin, pos, end)
        while name_end != end and byte_roles[name_end[0]] & BYTE_TOKEN:
            name_end += 1
        if name_end == end or name_end[0] != COLON:
            break
        value_end = scan_value(begin, name_end + 1, end)
        if end - value_end < 2 or memcmp(value_end, "\r\n", 2) != 0:
            break
        if ((roles & BYTE_FIELD or p.flags & FLAG_READS_ACCEPT)
                and not field_is_usual(p, pos, name_end, value_end, end)):
            break
        pos = value_end + 2
    return pos


cdef inline bint field_is_usual(Parser *p, const uint8_t *name, const uint8_t *name_end, const uint8_t *value_end,
                                const uint8_t *end) noexcept nogil:
    """Note what a field says if its value has the usual form; true as well if the field is not read."""
    cdef const uint8_t *value = name_end + 2  # behind the colon and a space
    cdef ptrdiff_t length = name_end - name
    cdef int word = 0
    while word < WORD_FIELDS and not is_word(name, length, end, field_words[word]):
        word += 1
    if word == WORD_FIELDS or word == WORD_ACCEPT and not p.flags & FLAG_READS_ACCEPT:
        return True
    length = value_end - value
    if length <= 0 or name_end[1] != SP:
        return False
    if word == WORD_HOST and not p.flags & FLAG_HOST and is_usual_host(value, value_end):
        p.flags |= FLAG_HOST
    elif word == WORD_CONNECTION and is_word(value, length, end, value_words[WORD_KEEP_ALIVE]):
        p.flags |= FLAG_KEEP_ALIVE
    elif word == WORD_CONNECTION and is_word(value, length, end, value_words[WORD_CLOSE]):
        p.flags |= FLAG_CLOSE
    else:
        return False
    return True


cdef inline bint is_usual_host(const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """Whether this is a name or an IPv4 address, with or without a port."""
    cdef const uint8_t *begin = pos
    while pos != end and byte_roles[pos[0]] & BYTE_SCHEME:
        pos += 1
    if pos != begin and pos != end and pos[0] == COLON:
        pos += 1
        while pos != end and byte_roles[pos[0]] & BYTE_DIGIT:
            pos += 1
    return pos == end


cdef inline const uint8_t *parse_field_line(Parser *p, const uint8_t *begin, const uint8_t *pos,
                                            const uint8_t *end) noexcept nogil:
    """The first byte of a field-line, or the CR of the empty line (RFC 9112 section 5). Each function calls the next
    one, because the rest of the field-line has usually arrived too."""
    cdef uint8_t roles
    pos = parse_whole_lines(p, begin, pos, end)
    if pos == end:
        return pos
    if end - pos >= 2 and memcmp(pos, "\r\n", 2) == 0:
        p.state = STATE_BODY
        return pos + 2
    roles = byte_roles[pos[0]]
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


cdef inline uint8_t lower_case(uint8_t byte) noexcept nogil:
    return byte | 0x20 if UPPER_A <= byte <= UPPER_Z else byte


cdef inline uint8_t words_left(const char (*words)[WORD_SIZE], uint8_t candidates, uint8_t position,
                               uint8_t byte) noexcept nogil:
    """The candidates that have this byte, in either case, at this position."""
    cdef uint8_t left = 0
    cdef int word
    byte = lower_case(byte)
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
    elif p.field == WORD_ACCEPT:
        media_range_begin(p)
        p.state = STATE_ACCEPT
    else:
        if p.field == WORD_TRANSFER_ENCODING:
            p.flags |= FLAG_CODING
        element_begin(p)
        p.state = STATE_LIST


cdef inline const uint8_t *parse_field_value(Parser *p, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """field-value CR (RFC 9110 section 5.5) of a field that is not read."""
    pos = scan_value(pos, pos, end)
    if pos == end:
        return pos
    if pos[0] != CR:
        p.error = ERROR_LINE_END if pos[0] == LF else ERROR_FIELD_VALUE
        return pos + 1
    pos += 1
    p.state = STATE_FIELD_LF
    return pos if pos == end else parse_lf(p, pos, STATE_FIELD_LINE)


cdef inline const uint8_t *parse_host(Parser *p, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """OWS [ uri-host [ ":" port ] ] OWS CR (RFC 9112 section 3.2). An IPv6 address that begins with a colon, such as
    `::1`, is accepted without brackets, because clients send it and it is not ambiguous."""
    cdef uint8_t byte
    while pos != end and not p.error:
        if p.position.host == HOST_NAME:
            pos = scan_host_name(pos, end)
            if pos == end:
                break
        byte = pos[0]
        pos += 1
        if byte == SP or byte == HTAB or byte == CR:
            if (p.position.host != HOST_START and p.position.host != HOST_END and not host_is_complete(p)
                    and not (p.flags & FLAG_BARE_ADDRESS and literal_is_complete(p))):
                p.error = ERROR_HOST
            if byte == CR:
                p.state = STATE_FIELD_LF
                return pos
            if p.position.host != HOST_START:
                p.position.host = HOST_END
        elif p.position.host == HOST_END or not parse_host_byte(p, byte):
            p.error = ERROR_LINE_END if byte == LF else ERROR_HOST
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
                p.error = ERROR_LINE_END if pos[0] == LF else ERROR_LENGTH
            return pos + 1
        pos += 1
    return pos


cdef inline void element_begin(Parser *p) noexcept nogil:
    p.candidates = (1 << WORD_VALUES) - 1
    p.token_length = 0
    p.position.value = VALUE_START


cdef inline const uint8_t *parse_list(Parser *p, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """#element CR (RFC 9110 section 5.6.1), the value of Connection, Transfer-Encoding or Expect."""
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
        elif (byte_roles[byte] & BYTE_TOKEN or byte_in_value(byte)
              or p.field == WORD_TRANSFER_ENCODING and byte != LF and byte != NUL):
            # in Transfer-Encoding a control byte makes the coding unknown, which has its own error
            token_byte(p, value_words, byte)
        else:
            p.error = ERROR_LINE_END if byte == LF else ERROR_FIELD_VALUE
            return pos
    return pos


cdef inline void token_byte(Parser *p, const char (*words)[WORD_SIZE], uint8_t byte) noexcept nogil:
    """A byte of a token that may be one of these words; a token that contains a space is none of them."""
    if p.position.value == VALUE_SPACE:
        p.candidates = 0
    p.candidates = words_left(words, p.candidates, p.token_length, byte)
    if p.token_length < WORD_SIZE - 1:
        p.token_length += 1
    p.position.value = VALUE_TOKEN


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
    elif p.flags & FLAG_CHUNKED:
        p.flags |= FLAG_AFTER_CHUNKED
    elif word == WORD_CHUNKED:
        p.flags |= FLAG_CHUNKED
    else:
        p.flags |= FLAG_UNKNOWN_CODING


cdef inline void media_range_begin(Parser *p) noexcept nogil:
    p.candidates = (1 << RANGES) - 1
    p.token_length = 0
    p.position.value = VALUE_START
    p.part.head.item.range.quality = QUALITY_MAX
    p.part.head.item.range.name = WORD_ACCEPTS
    p.part.head.item.range.part = PART_RANGE


cdef inline const uint8_t *parse_accept(Parser *p, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """#( media-range [ weight ] ) CR (RFC 9110 section 12.5.1). An element that is not valid is passed over."""
    cdef uint8_t byte
    while pos != end:
        byte = pos[0]
        pos += 1
        if byte == CR:
            media_range_complete(p)
            p.state = STATE_FIELD_LF
            return pos
        if not byte_in_value(byte):
            p.error = ERROR_LINE_END if byte == LF else ERROR_FIELD_VALUE
            return pos
        if p.position.value >= VALUE_QUOTED:
            parse_quoted_byte(p, byte)
        elif byte == COMMA:
            media_range_complete(p)
            media_range_begin(p)
        elif byte == SEMICOLON:
            range_part_complete(p)
        elif byte == SP or byte == HTAB:
            if p.position.value == VALUE_TOKEN:
                p.position.value = VALUE_SPACE
        else:
            parse_range_byte(p, byte)
    return pos


cdef inline void parse_range_byte(Parser *p, uint8_t byte) noexcept nogil:
    """A byte of a media range, or of a parameter outside of quotes."""
    cdef MediaRange *range_ = &p.part.head.item.range
    if range_.part >= PART_QUALITY:
        parse_quality_byte(p, byte)
    elif (byte == EQUALS and range_.part == PART_PARAMETER and p.position.value == VALUE_TOKEN
          and word_complete(accept_words, WORD_ACCEPTS, p.candidates, p.token_length) == PARAMETER_QUALITY):
        range_.quality = 0
        range_.part = PART_QUALITY
        p.token_length = 0
        p.position.value = VALUE_START
    else:
        token_byte(p, accept_words, byte)
    if byte == QUOTE:
        p.position.value = VALUE_QUOTED


cdef inline void parse_quoted_byte(Parser *p, uint8_t byte) noexcept nogil:
    """A byte of a quoted string behind its first quote."""
    cdef uint8_t value = p.position.value
    if p.part.head.item.range.part == PART_PARAMETER:
        token_byte(p, accept_words, byte)
    if value == VALUE_ESCAPED or byte != BACKSLASH and byte != QUOTE:
        p.position.value = VALUE_QUOTED
    else:
        p.position.value = VALUE_ESCAPED if byte == BACKSLASH else VALUE_TOKEN


cdef inline void parse_quality_byte(Parser *p, uint8_t byte) noexcept nogil:
    """A byte of qvalue (RFC 9110 section 12.4.2), 0 to 1 with at most three digits behind the dot."""
    cdef MediaRange *range_ = &p.part.head.item.range
    cdef bint digit = byte_roles[byte] & BYTE_DIGIT != 0
    if range_.part == PART_REST:
        return
    if p.position.value == VALUE_SPACE or not digit and (byte != DOT or range_.part == PART_FRACTION):
        range_.name = WORD_ACCEPTS
    elif byte == DOT:
        range_.part = PART_FRACTION
        p.token_length = 0
    elif range_.part == PART_QUALITY:
        range_.quality = QUALITY_MAX if byte != ZERO else range_.quality
    elif p.token_length < 3:
        p.token_length += 1
        range_.quality += (byte - ZERO) * (100 if p.token_length == 1 else 10 if p.token_length == 2 else 1)
    p.position.value = VALUE_TOKEN


cdef inline void range_part_complete(Parser *p) noexcept nogil:
    """The media range or a parameter ends here, and another parameter may follow. A range does not match if it has a
    parameter that neither response has."""
    cdef MediaRange *range_ = &p.part.head.item.range
    cdef int word = word_complete(accept_words, WORD_ACCEPTS, p.candidates, p.token_length)
    if range_.part == PART_RANGE:
        range_.name = <uint8_t>word
    elif (range_.part == PART_PARAMETER and p.token_length and word != PARAMETER_UTF_8
          and word != PARAMETER_UTF_8_QUOTED):
        range_.name = WORD_ACCEPTS
    elif range_.part == PART_QUALITY and p.position.value == VALUE_START:
        range_.name = WORD_ACCEPTS
    range_.part = PART_PARAMETER if range_.part < PART_QUALITY else PART_REST
    p.candidates = (1 << WORD_ACCEPTS) - (1 << RANGES)
    p.token_length = 0
    p.position.value = VALUE_START


cdef inline void media_range_complete(Parser *p) noexcept nogil:
    """Note what the range says about JSON and plain text. The most specific one decides about each."""
    cdef uint16_t quality
    cdef uint8_t name
    if p.position.value >= VALUE_QUOTED:
        return  # the quoted string has no end
    range_part_complete(p)
    name = p.part.head.item.range.name
    quality = min(p.part.head.item.range.quality, <uint16_t>QUALITY_MAX)
    if name == RANGE_ANY:
        quality |= SPECIFICITY
    elif name == RANGE_APPLICATION or name == RANGE_TEXT:
        quality |= 2 * SPECIFICITY
    else:
        quality |= 3 * SPECIFICITY
    if name == RANGE_ANY or name == RANGE_APPLICATION or name == RANGE_JSON:
        p.json = max(p.json, quality)
    if name == RANGE_ANY or name == RANGE_TEXT or name == RANGE_TEXT_PLAIN:
        p.text = max(p.text, quality)


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
    p.part.body_size = 0
    p.number.body_left = p.number.content_length if p.flags & FLAG_LENGTH else 0
    if not chunked and p.number.body_left == 0:
        p.state = STATE_READY
    elif p.flags & FLAG_CONTINUE and p.minor and (chunked or p.number.body_left <= LONG_BODY):
        # The client waits for the response before it sends the body (RFC 9110 section 10.1.1; 1.0 has no expectations).
        # The connection ends, because the client may send all of the body or none. The server asks for a long body,
        # because a proxy may fail when the response to one comes before its end.
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
    """A byte of chunk-size [ chunk-ext ] CR (RFC 9112 section 7.1). Extensions are checked, and have no effect."""
    cdef bint is_size = p.state == STATE_CHUNK_SIZE
    p.chunk_line += 1
    if byte == CR:
        if p.token_length == 0:
            p.error = ERROR_CHUNK_SIZE
        elif not is_size and not chunk_extension_may_end(p.position.extension):
            p.error = ERROR_CHUNK_EXTENSION
        p.state = STATE_CHUNK_LF
    elif p.chunk_line > CHUNK_LINE_MAX:
        p.error = ERROR_CHUNK_LINE
    elif is_size and byte_roles[byte] & BYTE_HEX and p.token_length < 16:
        p.number.body_left = p.number.body_left << 4 | digit_value(byte)
        p.token_length += 1
    elif byte == LF or p.token_length == 0 or is_size and byte != SP and byte != HTAB and byte != SEMICOLON:
        p.error = ERROR_LINE_END if byte == LF else ERROR_CHUNK_SIZE
    else:
        p.state = STATE_CHUNK_EXTENSION
        if is_size:
            p.position.extension = EXTENSION_SPACE
        if not parse_chunk_extension(p, byte):
            p.error = ERROR_CHUNK_EXTENSION
        count_chunk_extra(p)


cdef inline bint chunk_extension_may_end(uint8_t extension) noexcept nogil:
    return extension == EXTENSION_NAME or extension == EXTENSION_TOKEN or extension == EXTENSION_QUOTED_END


cdef inline bint parse_chunk_extension(Parser *p, uint8_t byte) noexcept nogil:
    """A byte of *( BWS ";" BWS name [ BWS "=" BWS value ] ), where a value is a token or a quoted string (RFC 9112
    section 7.1.1). False if it is not valid in its position."""
    cdef uint8_t extension = p.position.extension
    if extension == EXTENSION_ESCAPED:
        p.position.extension = EXTENSION_QUOTED
        return byte_in_value(byte)
    if extension == EXTENSION_QUOTED:
        if byte == QUOTE or byte == BACKSLASH:
            p.position.extension = EXTENSION_QUOTED_END if byte == QUOTE else EXTENSION_ESCAPED
        return byte_in_value(byte)
    if byte == SP or byte == HTAB:
        if extension == EXTENSION_NAME:
            p.position.extension = EXTENSION_NAME_SPACE
        elif extension == EXTENSION_TOKEN or extension == EXTENSION_QUOTED_END:
            p.position.extension = EXTENSION_SPACE
        return True
    if byte == SEMICOLON:
        p.position.extension = EXTENSION_START
        return extension != EXTENSION_START and extension != EXTENSION_EQUALS
    if byte == EQUALS:
        p.position.extension = EXTENSION_EQUALS
        return extension == EXTENSION_NAME or extension == EXTENSION_NAME_SPACE
    if byte == QUOTE:
        p.position.extension = EXTENSION_QUOTED
        return extension == EXTENSION_EQUALS
    if extension == EXTENSION_START:
        p.position.extension = EXTENSION_NAME
    elif extension == EXTENSION_EQUALS:
        p.position.extension = EXTENSION_TOKEN
    elif extension != EXTENSION_NAME and extension != EXTENSION_TOKEN:
        return False
    return byte_roles[byte] & BYTE_TOKEN != 0


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
