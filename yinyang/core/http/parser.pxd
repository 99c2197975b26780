"""Bytes of a connection -> one framed request after another, or how the request is wrong.

The machine reads the grammar of RFC 9112 (HTTP/1.1) over that of RFC 9110 (fields) and RFC 3986 (targets), and only
what decides where a request ends and which answer it gets. Its rules:

1.  Every byte is looked at once. What is known of a request is the state and a few numbers in a `Framing`; nothing
    is copied, nothing is allocated, and bytes may be cut into segments anywhere without a change of the outcome.
2.  The first byte that cannot belong to a valid request is where it is wrong. What only the whole head can tell is
    decided at its end: the method, then Host and framing, then what is valid and not understood.
3.  Lines end in CR LF and in nothing else (RFC 9112 section 2.2 lets a server accept a bare LF; two parsers that
    differ there can be played against each other). Empty lines before a request are skipped, as that section asks.
4.  No repair: no space before a colon, no folded line (section 5.2), no second Host (section 3.2) or Content-Length
    (section 6.3), no Transfer-Encoding beside Content-Length or in HTTP/1.0 (section 6.1), no sign, list or prefix in
    a length, chunked last and once (section 7).
5.  Whatever is wrong ends the connection, since after it nobody knows where the next request begins.

`parser_feed` is the one entry; its contract stands with it.
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
        WORD_FIELDS_ALWAYS
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

cdef extern from "routes.h" nogil:
    enum:
        WHOAMI_LENGTH

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

cdef enum:
    TARGET_MAX = 16 * 1024  # bytes
    HEAD_MAX = 64 * 1024  # bytes, the request line and the empty line included
    BODY_MAX = 256 * 1024  # bytes of data that are skipped to find the next request
    CHUNK_LINE_MAX = 4 * 1024  # bytes, without its CR LF
    CHUNK_EXTRA_MAX = 16 * 1024  # bytes of extensions and trailers in one body
    TARGET_KEPT = 256  # bytes of a target that its request can be asked for

cdef enum:  # the bytes that have a meaning of their own
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

cdef enum State:
    STATE_START  # nothing of a request yet; empty lines are skipped
    STATE_START_LF
    STATE_METHOD
    STATE_TARGET  # its first byte tells its form
    STATE_TARGET_ASTERISK
    STATE_TARGET_SCHEME
    STATE_TARGET_SLASH
    STATE_TARGET_SLASHES
    STATE_TARGET_AUTHORITY
    STATE_TARGET_PATH
    STATE_TARGET_PERCENT
    STATE_TARGET_PERCENTS
    STATE_TARGET_QUERY
    STATE_TARGET_ANY  # of CONNECT, which is refused whatever it asks for
    STATE_VERSION
    STATE_VERSION_LF
    STATE_FIELD
    STATE_FIELD_NAME
    STATE_VALUE
    STATE_VALUE_HOST
    STATE_VALUE_LENGTH
    STATE_VALUE_WORDS
    STATE_VALUE_LF
    STATE_HEAD_LF
    STATE_BODY  # from here on the head is complete
    STATE_CHUNK_SIZE
    STATE_CHUNK_GAP
    STATE_CHUNK_EXTENSION
    STATE_CHUNK_LF
    STATE_CHUNK_DATA
    STATE_CHUNK_END
    STATE_CHUNK_END_LF
    STATE_TRAILER
    STATE_TRAILER_NAME
    STATE_TRAILER_VALUE
    STATE_TRAILER_LF
    STATE_LAST_LF
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
    FLAG_BODY_LEFT = 1 << 12  # the request is answered without waiting for the end of its body
    FLAG_TEXT_PLAIN = 1 << 13  # Accept lists it; only read for a path that is as long as one that minds

cdef enum Part:  # where in a segment of the path, in an authority, or in a value the machine is
    PART_START
    PART_INSIDE
    PART_DOT
    PART_DOTS
    PART_PERCENT
    PART_PERCENTS
    PART_BRACKETS
    PART_BRACKETS_INSIDE
    PART_BRACKETED
    PART_PORT
    PART_BARE  # an IPv6 address without brackets
    PART_GAP

cdef enum Outcome:
    OUTCOME_MORE
    OUTCOME_READY
    OUTCOME_ERROR

cdef struct Parser:
    uint64_t number  # the method's bytes; then Content-Length; then the bytes left of the body or chunk
    uint32_t size  # bytes of the head so far; then of the chunk data announced so far
    uint16_t target  # bytes of the target so far
    uint16_t path  # where in the target its path begins
    uint16_t path_end  # … and ends
    uint16_t line  # bytes of the chunk line so far
    uint16_t extra  # bytes of chunk extensions and trailers so far
    uint16_t flags  # a set of Seen
    uint8_t state
    uint8_t method
    uint8_t minor  # of the version: 0 or 1
    uint8_t field  # which of field_words the value at hand belongs to
    uint8_t candidates  # the set of words that the token at hand can still become
    uint8_t position  # in the token at hand
    uint8_t part
    uint8_t error

# The target of a request as the segment at hand has it: `part` are the bytes from `offset` of the target on.
cdef struct Target:
    const uint8_t *part
    uint32_t offset


cdef inline int parser_feed(Parser *f, const uint8_t **pos, const uint8_t *end, Target *target) noexcept nogil:
    """Read [*pos, end) as far as the end of one request.

    OUTCOME_MORE: all was read, and more is needed. OUTCOME_READY: the request ends before *pos and `f` describes it
    until `parser_next`. OUTCOME_ERROR: *pos is somewhere after the offending byte, and f.error tells what is wrong.
    """
    cdef const uint8_t *p = pos[0]
    target.part = p
    target.offset = f.target
    while p != end and f.state != STATE_READY and not f.error:
        if f.state < STATE_BODY:
            p = parse_head(f, p, end, target)
        else:
            p = parse_body(f, p, end)
    pos[0] = p
    if f.error:
        return OUTCOME_ERROR
    return OUTCOME_READY if f.state == STATE_READY else OUTCOME_MORE


cdef inline void parser_next(Parser *f) noexcept nogil:
    """Forget the request: the next byte begins another."""
    memset(f, 0, sizeof(Parser))


cdef inline bint parser_has_begun(const Parser *f) noexcept nogil:
    """Is there a part of a request? (Empty lines before it are none.)"""
    return f.state > STATE_START_LF


cdef inline int parser_error_at_end(const Parser *f) noexcept nogil:
    """How it is wrong that nothing more comes; ERROR_NOTHING between two requests."""
    return ERROR_INCOMPLETE if parser_has_begun(f) else ERROR_NOTHING


cdef inline int parser_error_when_slow(const Parser *f) noexcept nogil:
    return ERROR_SLOW_HEAD if f.state < STATE_BODY else ERROR_SLOW_BODY


cdef inline bint parser_keeps_alive(const Parser *f) noexcept nogil:
    """May another request follow on the connection? (RFC 9112 section 9.3)"""
    if f.flags & (FLAG_CLOSE | FLAG_BODY_LEFT):
        return False
    return f.minor != 0 or f.flags & FLAG_KEEP_ALIVE != 0


cdef inline uint64_t parser_skippable(const Parser *f) noexcept nogil:
    """How many of the next bytes are body that need not be looked at."""
    return f.number if f.state == STATE_BODY or f.state == STATE_CHUNK_DATA else 0


cdef inline void parser_skip(Parser *f, uint64_t count) noexcept nogil:
    """`count` bytes of the body, at most parser_skippable, passed by unseen."""
    f.number -= count
    if f.number == 0:
        f.state = STATE_READY if f.state == STATE_BODY else STATE_CHUNK_END


cdef inline uint32_t target_kept(const Parser *f) noexcept nogil:
    return f.target if f.target < TARGET_KEPT else TARGET_KEPT


cdef inline void target_keep(const Parser *f, const Target *target, uint8_t *kept) noexcept nogil:
    """Copy the part of the target that the segment at hand has to where it belongs in kept[TARGET_KEPT]."""
    cdef uint32_t length = target_kept(f)
    if target.offset < length:
        memcpy(kept + target.offset, target.part, length - target.offset)


# ---- the head ---------------------------------------------------------------------------------------------------

cdef inline const uint8_t *parse_head(Parser *f, const uint8_t *pos, const uint8_t *end,
                                      Target *target) noexcept nogil:
    """Token after token, until the head is complete, the bytes are used up, or something is wrong."""
    cdef const uint8_t *begin = pos
    cdef const uint8_t *stop = end
    if end - pos > HEAD_MAX - <int>f.size:
        stop = pos + (HEAD_MAX - f.size)
        if stop == pos:
            f.error = ERROR_HEAD_LONG
            return pos
    while pos != stop and f.state < STATE_BODY and not f.error:
        if f.state == STATE_FIELD:
            pos = head_field(f, pos, stop)
        elif f.state == STATE_FIELD_NAME:
            pos = head_field_name(f, pos, stop)
        elif f.state == STATE_VALUE:
            pos = head_value(f, pos, stop)
        elif f.state == STATE_VALUE_LF:
            pos = head_line_end(f, pos, STATE_FIELD)
        elif f.state == STATE_VALUE_HOST:
            pos = head_value_host(f, pos, stop)
        elif f.state == STATE_VALUE_WORDS:
            pos = head_value_words(f, pos, stop)
        elif f.state == STATE_VALUE_LENGTH:
            pos = head_value_length(f, pos, stop)
        elif f.state == STATE_HEAD_LF:
            pos = head_line_end(f, pos, STATE_BODY)
        elif f.state == STATE_START:
            pos = head_start(f, pos)
        elif f.state == STATE_START_LF:
            pos = head_line_end(f, pos, STATE_START)
        elif f.state == STATE_METHOD:
            pos = head_method(f, pos, stop)
        elif f.state == STATE_VERSION:
            pos = head_version(f, pos, stop)
        elif f.state == STATE_VERSION_LF:
            pos = head_line_end(f, pos, STATE_FIELD)
        else:
            if f.target == 0:
                target.part = pos
            pos = head_target(f, pos, stop)
    f.size += <uint32_t>(pos - begin)
    if f.state == STATE_BODY and not f.error:
        head_complete(f)
    return pos


cdef inline const uint8_t *head_line_end(Parser *f, const uint8_t *pos, uint8_t state) noexcept nogil:
    """The LF after a CR."""
    if pos[0] == LF:
        f.state = state
    else:
        f.error = ERROR_LINE_END
    return pos + 1


cdef inline const uint8_t *head_start(Parser *f, const uint8_t *pos) noexcept nogil:
    if pos[0] == CR:
        f.state = STATE_START_LF
        return pos + 1
    f.state = STATE_METHOD
    return pos


cdef inline const uint8_t *head_method(Parser *f, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """method SP (RFC 9112 section 3.1). Its first 8 bytes become a number; no known method is longer than 7."""
    while pos != end:
        if pos[0] == SP:
            f.method = method_of(f.number) if f.position <= 8 else METHOD_UNKNOWN
            f.state = STATE_TARGET_ANY if f.method == METHOD_CONNECT else STATE_TARGET
            if f.position == 0:
                f.error = ERROR_METHOD
            return pos + 1
        if not byte_roles[pos[0]] & BYTE_TOKEN:
            f.error = ERROR_TLS if pos[0] == TLS_HANDSHAKE and f.position == 0 else ERROR_METHOD
            return pos + 1
        if f.position < 8:
            f.number = f.number << 8 | pos[0]
        if f.position <= 8:
            f.position += 1
        pos += 1
    return pos


cdef inline uint8_t method_of(uint64_t name) noexcept nogil:
    """Methods are case-sensitive (RFC 9110 section 9.1)."""
    cdef uint8_t method
    for method in range(METHOD_GET, METHODS):
        if method_names[method] == name:
            return method
    return METHOD_UNKNOWN


cdef inline const uint8_t *head_target(Parser *f, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """request-target SP (RFC 9112 section 3.2)."""
    cdef const uint8_t *stop = end
    if end - pos > TARGET_MAX - <int>f.target:
        stop = pos + (TARGET_MAX - f.target)
    while pos != stop and pos[0] != SP and not f.error:
        pos = target_step(f, pos, stop)
    if f.error or pos == end:
        return pos
    if pos[0] == SP:
        target_complete(f)
    else:
        f.error = ERROR_TARGET_LONG
    return pos + 1


cdef inline const uint8_t *target_step(Parser *f, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    cdef uint8_t byte = pos[0]
    if f.state == STATE_TARGET_PATH:
        return target_path(f, pos, end)
    if f.state == STATE_TARGET_QUERY:
        return target_query(f, pos, end)
    f.target += 1
    if f.state == STATE_TARGET:
        target_form(f, byte)
    elif f.state == STATE_TARGET_PERCENT or f.state == STATE_TARGET_PERCENTS:
        if not byte_roles[byte] & BYTE_HEX:
            f.error = ERROR_PERCENT
        f.state = STATE_TARGET_PERCENTS if f.state == STATE_TARGET_PERCENT else STATE_TARGET_PATH
    elif f.state == STATE_TARGET_SCHEME:
        if byte == COLON:
            f.state = STATE_TARGET_SLASH
        elif not byte_roles[byte] & BYTE_SCHEME:
            f.error = ERROR_TARGET
    elif f.state == STATE_TARGET_SLASH or f.state == STATE_TARGET_SLASHES:
        if byte != SLASH:
            f.error = ERROR_TARGET
        f.part = PART_START
        f.state = STATE_TARGET_SLASHES if f.state == STATE_TARGET_SLASH else STATE_TARGET_AUTHORITY
    elif f.state == STATE_TARGET_AUTHORITY:
        target_authority(f, byte)
    elif f.state == STATE_TARGET_ASTERISK or byte <= SP or byte >= 127:  # nothing follows *; ANY is visible ASCII
        f.error = ERROR_TARGET
    return pos + 1


cdef inline void target_form(Parser *f, uint8_t byte) noexcept nogil:
    """origin-form, absolute-form or asterisk-form, by the first byte."""
    if byte == SLASH:
        f.part = PART_START
        f.state = STATE_TARGET_PATH
    elif byte == ASTERISK and f.method == METHOD_OPTIONS:
        f.flags |= FLAG_ASTERISK
        f.state = STATE_TARGET_ASTERISK
    elif UPPER_A <= byte & 0xDF <= UPPER_Z:
        f.state = STATE_TARGET_SCHEME
    else:
        f.error = ERROR_TARGET


cdef inline void target_authority(Parser *f, uint8_t byte) noexcept nogil:
    """host [":" port], RFC 3986 section 3.2; user information is refused, as RFC 9110 section 4.2.4 asks."""
    if byte == SLASH or byte == QUESTION:
        if not authority_ends(f):
            f.error = ERROR_AUTHORITY
        f.part = PART_START
        f.path = <uint16_t>(f.target - 1)
        f.path_end = f.path
        f.state = STATE_TARGET_PATH if byte == SLASH else STATE_TARGET_QUERY
    elif not host_step(f, byte):
        f.error = ERROR_AUTHORITY


cdef inline bint authority_ends(const Parser *f) noexcept nogil:
    return f.part == PART_INSIDE or f.part == PART_BRACKETED or f.part == PART_PORT


cdef inline bint host_step(Parser *f, uint8_t byte) noexcept nogil:
    """A byte of uri-host [":" port] (RFC 9110 section 7.2): may it stand where it stands?"""
    cdef uint8_t roles = byte_roles[byte]
    if f.part == PART_PERCENT or f.part == PART_PERCENTS:
        f.part = PART_PERCENTS if f.part == PART_PERCENT else PART_INSIDE
        return roles & BYTE_HEX != 0
    if f.part == PART_PORT:
        return roles & BYTE_DIGIT != 0
    if f.part == PART_BARE:
        return roles & BYTE_HEX != 0 or byte == COLON or byte == DOT
    if byte == BRACKET:
        if f.part != PART_START:
            return False
        f.part = PART_BRACKETS
    elif byte == BRACKET_END:
        if f.part != PART_BRACKETS_INSIDE:
            return False
        f.part = PART_BRACKETED
    elif f.part == PART_BRACKETS or f.part == PART_BRACKETS_INSIDE:
        f.part = PART_BRACKETS_INSIDE
    elif byte == COLON:
        f.part = PART_BARE if f.part == PART_START else PART_PORT
    elif f.part == PART_BRACKETED:
        return False
    else:
        f.part = PART_PERCENT if byte == PERCENT else PART_INSIDE
    return roles & BYTE_HOST != 0


cdef inline const uint8_t *target_path(Parser *f, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """A run of plain bytes, or one byte with a meaning, of path-abempty (RFC 3986 section 3.3)."""
    cdef const uint8_t *begin = pos
    cdef uint8_t byte = pos[0]
    if byte_roles[byte] & BYTE_PATH:
        while pos != end and byte_roles[pos[0]] & BYTE_PATH:
            pos += 1
        f.part = PART_INSIDE
        f.target += <uint16_t>(pos - begin)
        return pos
    if byte == SLASH:
        if f.part != PART_INSIDE:
            f.flags |= FLAG_UNCLEAN
        f.part = PART_START
    elif byte == DOT:
        if f.part == PART_START:
            f.part = PART_DOT
        elif f.part == PART_DOT:
            f.part = PART_DOTS
        else:
            f.part = PART_INSIDE
    elif byte == PERCENT:
        f.part = PART_INSIDE
        f.state = STATE_TARGET_PERCENT
    elif byte == QUESTION:
        path_complete(f)
        f.state = STATE_TARGET_QUERY
    else:
        f.error = ERROR_TARGET
    f.target += 1
    return pos + 1


cdef inline void path_complete(Parser *f) noexcept nogil:
    f.path_end = f.target
    if f.part == PART_DOT or f.part == PART_DOTS:
        f.flags |= FLAG_UNCLEAN


cdef inline const uint8_t *target_query(Parser *f, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """Visible ASCII but '#'; a query is passed on and never read, so a stray % in it harms nobody."""
    cdef const uint8_t *begin = pos
    while pos != end and byte_roles[pos[0]] & BYTE_QUERY:
        pos += 1
    if pos != end and pos[0] != SP:
        f.error = ERROR_TARGET
    f.target += <uint16_t>(pos - begin)
    return pos


cdef inline void target_complete(Parser *f) noexcept nogil:
    if f.state == STATE_TARGET_PATH:
        path_complete(f)
    elif f.state == STATE_TARGET_AUTHORITY:
        f.path = f.target
        f.path_end = f.target
        if not authority_ends(f):
            f.error = ERROR_AUTHORITY
    elif f.state == STATE_TARGET_PERCENT or f.state == STATE_TARGET_PERCENTS:
        f.error = ERROR_PERCENT
    elif f.target == 0 or f.state < STATE_TARGET_AUTHORITY and f.state != STATE_TARGET_ASTERISK:
        f.error = ERROR_TARGET
    f.position = 0
    f.state = STATE_VERSION


cdef inline const uint8_t *head_version(Parser *f, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """HTTP-version CR (RFC 9112 section 2.3). Any 1.x is answered as the highest 1.x known (RFC 9110 section 2.5)."""
    cdef const char *variant = "HTTP/d.d\r"
    cdef uint8_t byte
    while pos != end:
        byte = pos[0]
        pos += 1
        if variant[f.position] == 100:  # 'd', a digit
            if not byte_roles[byte] & BYTE_DIGIT:
                f.error = ERROR_VERSION
                return pos
            if f.position == 5:
                f.part = <uint8_t>(byte - ZERO)
            else:
                f.minor = <uint8_t>(byte - ZERO)
        elif byte != <uint8_t>variant[f.position]:
            f.error = ERROR_VERSION
            return pos
        f.position += 1
        if byte == CR:
            if f.part != 1:
                f.error = ERROR_VERSION_UNKNOWN
            f.minor = f.minor != 0
            f.state = STATE_VERSION_LF
            return pos
    return pos


cdef inline const uint8_t *head_field(Parser *f, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """The first byte of a line: of a field, or the CR of the empty line. The rest of a field is most often there too,
    so each part of it calls the next one."""
    cdef uint8_t roles = byte_roles[pos[0]]
    if pos[0] == CR:
        f.state = STATE_HEAD_LF
        return pos + 1
    if not roles & BYTE_TOKEN:
        f.error = ERROR_FIELD_NAME
        return pos + 1
    f.candidates = (1 << WORD_FIELDS_ALWAYS) - 1 if roles & BYTE_FIELD else 0
    if pos[0] | 0x20 == LOWER_A and f.path_end - f.path == WHOAMI_LENGTH:
        f.candidates = 1 << WORD_ACCEPT
    f.position = 0
    f.state = STATE_FIELD_NAME
    return head_field_name(f, pos, end)


cdef inline uint8_t words_left(const char (*words)[WORD_SIZE], uint8_t candidates, uint8_t position,
                               uint8_t byte) noexcept nogil:
    """Those of the candidates that have this byte, in either case, at this position."""
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


cdef inline const uint8_t *head_field_name(Parser *f, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """field-name ":" (RFC 9112 section 5.1), which has a byte at least. Most have no candidates from there on."""
    while f.candidates and pos != end and byte_roles[pos[0]] & BYTE_TOKEN:
        f.candidates = words_left(field_words, f.candidates, f.position, pos[0])
        f.position += 1  # no word is left when it comes to the last column, which is their end
        pos += 1
    while pos != end and byte_roles[pos[0]] & BYTE_TOKEN:
        pos += 1
    if pos == end:
        return pos
    if pos[0] != COLON:
        f.error = ERROR_FIELD_NAME
        return pos + 1
    pos += 1
    head_field_known(f)
    return head_value(f, pos, end) if f.state == STATE_VALUE else pos


cdef inline void head_field_known(Parser *f) noexcept nogil:
    """The name is complete: which value follows, and may it?"""
    f.field = <uint8_t>word_complete(field_words, WORD_FIELDS, f.candidates, f.position)
    f.part = PART_START
    if f.field == WORD_FIELDS:
        f.state = STATE_VALUE
    elif f.field == WORD_HOST:
        if f.flags & FLAG_HOST:
            f.error = ERROR_HOST_TWICE
        f.flags |= FLAG_HOST
        f.state = STATE_VALUE_HOST
    elif f.field == WORD_CONTENT_LENGTH:
        if f.flags & FLAG_LENGTH:
            f.error = ERROR_LENGTH_TWICE
        f.flags |= FLAG_LENGTH
        f.number = 0
        f.state = STATE_VALUE_LENGTH
    else:
        if f.field == WORD_TRANSFER_ENCODING:
            f.flags |= FLAG_CODING
        word_begin(f)
        f.state = STATE_VALUE_WORDS


cdef inline const uint8_t *head_value(Parser *f, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """A value that nobody here reads (RFC 9110 section 5.5)."""
    pos = scan_value(pos, end)
    if pos == end:
        return pos
    if pos[0] != CR:
        f.error = ERROR_LINE_END if pos[0] == LF else ERROR_FIELD_VALUE
        return pos + 1
    pos += 1
    f.state = STATE_VALUE_LF
    return pos if pos == end else head_line_end(f, pos, STATE_FIELD)


cdef inline const uint8_t *head_value_host(Parser *f, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """OWS [ uri-host [ ":" port ] ] OWS CR (RFC 9112 section 3.2). `::1` without brackets passes, as clients write it
    and nobody takes it for anything else."""
    cdef uint8_t byte
    while pos != end and not f.error:
        byte = pos[0]
        pos += 1
        if byte == SP or byte == HTAB or byte == CR:
            if f.part != PART_START and f.part != PART_GAP and f.part != PART_BARE and not authority_ends(f):
                f.error = ERROR_HOST
            if byte == CR:
                f.state = STATE_VALUE_LF
                return pos
            if f.part != PART_START:
                f.part = PART_GAP
        elif f.part == PART_GAP or not host_step(f, byte):
            f.error = ERROR_HOST
    return pos


cdef inline const uint8_t *head_value_length(Parser *f, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """OWS 1*DIGIT OWS CR (RFC 9110 section 8.6)."""
    cdef uint64_t digit
    while pos != end:
        if byte_roles[pos[0]] & BYTE_DIGIT and f.part != PART_GAP:
            digit = pos[0] - ZERO
            if f.number > (<uint64_t>INT64_MAX - digit) / 10:
                f.error = ERROR_LENGTH
                return pos + 1
            f.number = f.number * 10 + digit
            f.part = PART_INSIDE
        elif pos[0] == SP or pos[0] == HTAB:
            if f.part == PART_INSIDE:
                f.part = PART_GAP
        else:
            if pos[0] == CR and f.part != PART_START:
                f.state = STATE_VALUE_LF
            else:
                f.error = ERROR_LENGTH
            return pos + 1
        pos += 1
    return pos


cdef inline void word_begin(Parser *f) noexcept nogil:
    f.candidates = (1 << WORD_VALUES) - 1
    f.position = 0
    f.part = PART_START


cdef inline const uint8_t *head_value_words(Parser *f, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    """#word CR, the list of RFC 9110 section 5.6.1, of Connection, Transfer-Encoding, Expect or Accept."""
    cdef uint8_t byte
    while pos != end:
        byte = pos[0]
        pos += 1
        if byte == CR or byte == COMMA:
            head_word(f)
            if byte == CR:
                f.state = STATE_VALUE_LF
                return pos
            word_begin(f)
        elif byte == SP or byte == HTAB:
            if f.part == PART_INSIDE:
                f.part = PART_GAP
        elif byte == SEMICOLON and f.field == WORD_ACCEPT:
            head_word(f)  # what follows are its parameters, and no word
            f.candidates = 0
        elif byte_in_value(byte) or f.field == WORD_TRANSFER_ENCODING and byte != LF and byte != 0:
            # a control byte in Transfer-Encoding makes a coding that is not understood, and is answered so
            if f.part == PART_GAP:
                f.candidates = 0
            f.candidates = words_left(value_words, f.candidates, f.position, byte)
            if f.position < WORD_SIZE - 1:
                f.position += 1
            f.part = PART_INSIDE
        else:
            f.error = ERROR_LINE_END if byte == LF else ERROR_FIELD_VALUE
            return pos
    return pos


cdef inline void head_word(Parser *f) noexcept nogil:
    """One element of the list is complete; an empty one has no candidates that end there."""
    cdef int word = word_complete(value_words, WORD_VALUES, f.candidates, f.position)
    if f.field == WORD_CONNECTION:
        if word == WORD_CLOSE:
            f.flags |= FLAG_CLOSE
        elif word == WORD_KEEP_ALIVE:
            f.flags |= FLAG_KEEP_ALIVE
    elif f.field == WORD_EXPECT:
        if word == WORD_CONTINUE:
            f.flags |= FLAG_CONTINUE
        elif f.position:
            f.flags |= FLAG_OTHER_EXPECTATION
    elif f.field == WORD_ACCEPT:
        if word == WORD_TEXT_PLAIN:
            f.flags |= FLAG_TEXT_PLAIN
    elif f.flags & FLAG_CHUNKED:
        f.flags |= FLAG_AFTER_CHUNKED
    elif word == WORD_CHUNKED:
        f.flags |= FLAG_CHUNKED
    else:
        f.flags |= FLAG_UNKNOWN_CODING


cdef inline int head_error(const Parser *f) noexcept nogil:
    """What only the whole head can tell."""
    if f.method == METHOD_CONNECT or f.method == METHOD_TRACE:
        return ERROR_METHOD_REFUSED
    if f.method == METHOD_UNKNOWN:
        return ERROR_METHOD_UNKNOWN
    if f.minor and not f.flags & FLAG_HOST:
        return ERROR_HOST_MISSING
    if f.flags & FLAG_CODING:
        if not f.minor:
            return ERROR_CODING_IN_1_0
        if f.flags & FLAG_LENGTH:
            return ERROR_LENGTH_AND_CODING
        if f.flags & FLAG_AFTER_CHUNKED:
            return ERROR_CODING_ORDER
        if f.flags & FLAG_UNKNOWN_CODING:
            return ERROR_CODING_UNKNOWN
    if f.flags & FLAG_OTHER_EXPECTATION:
        return ERROR_EXPECTATION
    return ERROR_NOTHING


cdef inline void head_complete(Parser *f) noexcept nogil:
    """How the body is framed, if there is one (RFC 9112 section 6.3)."""
    cdef bint chunked = f.flags & FLAG_CODING != 0
    f.error = <uint8_t>head_error(f)
    f.size = 0
    if not f.flags & FLAG_LENGTH:
        f.number = 0
    if not chunked and f.number == 0:
        f.state = STATE_READY
    elif f.number > BODY_MAX or f.flags & FLAG_CONTINUE and f.minor:
        # answered at once: it is too long to be worth skipping, or the client waits before it sends (section 10.1.1 of
        # RFC 9110; 1.0 has no such expectation). Both end the connection, as the body is not read
        f.flags |= FLAG_BODY_LEFT
        f.state = STATE_READY
    elif chunked:
        chunk_begin(f)


# ---- the body ---------------------------------------------------------------------------------------------------

cdef inline const uint8_t *parse_body(Parser *f, const uint8_t *pos, const uint8_t *end) noexcept nogil:
    cdef uint64_t left = <uint64_t>(end - pos)
    if f.state == STATE_BODY or f.state == STATE_CHUNK_DATA:
        if left > f.number:
            left = f.number
        parser_skip(f, left)
        return pos + left
    if f.state < STATE_CHUNK_LF:
        return chunk_line(f, pos)
    if f.state < STATE_TRAILER:
        chunk_edge(f, pos[0])
        return pos + 1
    return trailer_byte(f, pos)


cdef inline void chunk_begin(Parser *f) noexcept nogil:
    f.number = 0
    f.line = 0
    f.position = 0
    f.state = STATE_CHUNK_SIZE


cdef inline const uint8_t *chunk_line(Parser *f, const uint8_t *pos) noexcept nogil:
    """chunk-size [ chunk-ext ] CR (RFC 9112 section 7.1); what an extension says is not read."""
    cdef uint8_t byte = pos[0]
    f.line += 1
    if byte == CR:
        if f.position == 0:
            f.error = ERROR_CHUNK_SIZE
        elif f.state == STATE_CHUNK_GAP:
            f.error = ERROR_LINE_END
        f.state = STATE_CHUNK_LF
    elif f.line > CHUNK_LINE_MAX:
        f.error = ERROR_CHUNK_LINE
    elif f.state == STATE_CHUNK_EXTENSION:
        if not byte_in_value(byte):
            f.error = ERROR_LINE_END if byte == LF else ERROR_CHUNK_SIZE
        chunk_extra(f)
    elif byte == SEMICOLON and f.position:
        f.state = STATE_CHUNK_EXTENSION
        chunk_extra(f)
    elif (byte == SP or byte == HTAB) and f.position:
        f.state = STATE_CHUNK_GAP
        chunk_extra(f)
    elif byte_roles[byte] & BYTE_HEX and f.state == STATE_CHUNK_SIZE and f.position < 16:
        f.number = f.number << 4 | ((byte & 15) if byte <= NINE else (byte & 15) + 9)
        f.position += 1
    else:
        f.error = ERROR_LINE_END if byte == LF else ERROR_CHUNK_SIZE
    return pos + 1


cdef inline void chunk_extra(Parser *f) noexcept nogil:
    f.extra += 1
    if f.extra > CHUNK_EXTRA_MAX:
        f.error = ERROR_CHUNK_EXTRA


cdef inline void chunk_edge(Parser *f, uint8_t byte) noexcept nogil:
    """The LF after the chunk line, and CR LF after the chunk data."""
    if f.state == STATE_CHUNK_END:
        f.state = STATE_CHUNK_END_LF
        if byte != CR:
            f.error = ERROR_CHUNK_END
    elif byte != LF:
        f.error = ERROR_LINE_END if f.state == STATE_CHUNK_LF else ERROR_CHUNK_END
    elif f.state == STATE_CHUNK_END_LF:
        chunk_begin(f)
    elif f.number == 0:
        f.state = STATE_TRAILER
    elif f.number > BODY_MAX - f.size:
        f.flags |= FLAG_BODY_LEFT
        f.state = STATE_READY
    else:
        f.size += <uint32_t>f.number
        f.state = STATE_CHUNK_DATA


cdef inline const uint8_t *trailer_byte(Parser *f, const uint8_t *pos) noexcept nogil:
    """trailer-section CR LF (RFC 9112 section 7.1.2): fields whose values nobody here reads."""
    cdef uint8_t byte = pos[0]
    if f.state == STATE_LAST_LF or f.state == STATE_TRAILER_LF:
        return head_line_end(f, pos, STATE_READY if f.state == STATE_LAST_LF else STATE_TRAILER)
    if f.state == STATE_TRAILER and byte == CR:
        f.state = STATE_LAST_LF
        return pos + 1
    chunk_extra(f)
    if f.state == STATE_TRAILER_VALUE:
        if byte == CR:
            f.state = STATE_TRAILER_LF
        elif not byte_in_value(byte):
            f.error = ERROR_LINE_END if byte == LF else ERROR_FIELD_VALUE
    elif byte_roles[byte] & BYTE_TOKEN:
        f.state = STATE_TRAILER_NAME
    elif byte == COLON and f.state == STATE_TRAILER_NAME:
        f.state = STATE_TRAILER_VALUE
    else:
        f.error = ERROR_FIELD_NAME
    return pos + 1
