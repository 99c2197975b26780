/* The characters and words of requests: the roles of each byte, the methods, the names and values of fields.
 *
 * In C, because tables of the core must be constant: nothing initializes them at run time. */
#ifndef YINYANG_HTTP_CHARS_H
#define YINYANG_HTTP_CHARS_H
/* clang-format off */ /* its tables are laid out by hand */

/* A port as it stands in an address, and back: the high byte first (htons(3), without a call). */
static inline unsigned short port_bytes(unsigned short port)
{
    const unsigned char bytes[2] = {(unsigned char)(port >> 8), (unsigned char)port};
    unsigned short number;
    __builtin_memcpy(&number, bytes, sizeof number);
    return number;
}

/* The number of the lowest bit of a set, which is not empty. */
static inline int lowest_bit(unsigned int set)
{
    return __builtin_ctz(set);
}

enum {
    BYTE_TOKEN = 1,  /* tchar, RFC 9110 section 5.6.2: methods and field names */
    BYTE_HOST = 2,   /* uri-host and port, RFC 3986 section 3.2, in any position */
    BYTE_PATH = 4,   /* path, RFC 3986 section 3.3, without its delimiters: . / ? % # */
    BYTE_SCHEME = 8, /* scheme, RFC 3986 section 3.1, after its first letter */
    BYTE_DIGIT = 16,
    BYTE_HEX = 32,
    BYTE_QUERY = 64, /* query, RFC 3986 section 3.4, as leniently as the path */
    BYTE_FIELD = 128, /* first byte of a field name that is always read, in either case */
};

#define PLAIN (BYTE_PATH | BYTE_QUERY)
#define LETTER (BYTE_TOKEN | BYTE_HOST | PLAIN | BYTE_SCHEME)
#define LETTERS(first, last, more) /* in either case */ \
    [first ... last] = LETTER | (more), [(first) - 'a' + 'A' ... (last) - 'a' + 'A'] = LETTER | (more),

static const unsigned char byte_roles[256] = {
    ['0' ... '9'] = LETTER | BYTE_DIGIT | BYTE_HEX,
    LETTERS('a', 'b', BYTE_HEX)
    LETTERS('c', 'c', BYTE_HEX | BYTE_FIELD)
    LETTERS('d', 'd', BYTE_HEX)
    LETTERS('e', 'e', BYTE_HEX | BYTE_FIELD)
    LETTERS('f', 'f', BYTE_HEX)
    LETTERS('g', 'g', 0)
    LETTERS('h', 'h', BYTE_FIELD)
    LETTERS('i', 's', 0)
    LETTERS('t', 't', BYTE_FIELD)
    LETTERS('u', 'z', 0)
    ['!'] = BYTE_TOKEN | BYTE_HOST | PLAIN,
    ['"'] = PLAIN,
    ['#'] = BYTE_TOKEN,
    ['$'] = BYTE_TOKEN | BYTE_HOST | PLAIN,
    ['%'] = BYTE_TOKEN | BYTE_HOST | BYTE_QUERY,
    ['&'] = BYTE_TOKEN | BYTE_HOST | PLAIN,
    ['\''] = BYTE_TOKEN | BYTE_HOST | PLAIN,
    ['('] = BYTE_HOST | PLAIN,
    [')'] = BYTE_HOST | PLAIN,
    ['*'] = BYTE_TOKEN | BYTE_HOST | PLAIN,
    ['+'] = BYTE_TOKEN | BYTE_HOST | PLAIN | BYTE_SCHEME,
    [','] = BYTE_HOST | PLAIN,
    ['-'] = BYTE_TOKEN | BYTE_HOST | PLAIN | BYTE_SCHEME,
    ['.'] = BYTE_TOKEN | BYTE_HOST | BYTE_SCHEME | BYTE_QUERY,
    ['/'] = BYTE_QUERY,
    [':'] = BYTE_HOST | PLAIN,
    [';'] = BYTE_HOST | PLAIN,
    ['<'] = PLAIN,
    ['='] = BYTE_HOST | PLAIN,
    ['>'] = PLAIN,
    ['?'] = BYTE_QUERY,
    ['@'] = PLAIN,
    ['['] = BYTE_HOST | PLAIN,
    ['\\'] = PLAIN,
    [']'] = BYTE_HOST | PLAIN,
    ['^'] = BYTE_TOKEN | PLAIN,
    ['_'] = BYTE_TOKEN | BYTE_HOST | PLAIN,
    ['`'] = BYTE_TOKEN | PLAIN,
    ['{'] = PLAIN,
    ['|'] = BYTE_TOKEN | PLAIN,
    ['}'] = PLAIN,
    ['~'] = BYTE_TOKEN | BYTE_HOST | PLAIN,
    [0x80 ... 0xff] = PLAIN, /* not in RFC 3986, but clients send UTF-8 as it is */
};

#undef LETTERS
#undef LETTER
#undef PLAIN

/* The known methods (RFC 9110 section 9, RFC 5789). */
enum method {
    METHOD_UNKNOWN,
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_PATCH,
    METHOD_DELETE,
    METHOD_OPTIONS,
    METHOD_CONNECT,
    METHOD_TRACE,
    METHODS,
};

/* The name of a method as a number, its last byte lowest; no known one is longer than 7. */
#define NAME(a, b, c, d, e, f, g) \
    (((((((a) * 256ULL + (b)) * 256 + (c)) * 256 + (d)) * 256 + (e)) * 256 + (f)) * 256 + (g))

static const unsigned long long method_names[METHODS] = {
    [METHOD_GET] = NAME(0, 0, 0, 0, 'G', 'E', 'T'),
    [METHOD_HEAD] = NAME(0, 0, 0, 'H', 'E', 'A', 'D'),
    [METHOD_POST] = NAME(0, 0, 0, 'P', 'O', 'S', 'T'),
    [METHOD_PUT] = NAME(0, 0, 0, 0, 'P', 'U', 'T'),
    [METHOD_PATCH] = NAME(0, 0, 'P', 'A', 'T', 'C', 'H'),
    [METHOD_DELETE] = NAME(0, 'D', 'E', 'L', 'E', 'T', 'E'),
    [METHOD_OPTIONS] = NAME('O', 'P', 'T', 'I', 'O', 'N', 'S'),
    [METHOD_CONNECT] = NAME('C', 'O', 'N', 'N', 'E', 'C', 'T'),
    [METHOD_TRACE] = NAME(0, 0, 'T', 'R', 'A', 'C', 'E'),
};

/* What other protocols begin with, where HTTP/1 has a method. */
#define NAME_PRI NAME(0, 0, 0, 0, 'P', 'R', 'I')          /* the preface of HTTP/2, RFC 9113 section 3.4 */
#define NAME_PROXY NAME(0, 0, 'P', 'R', 'O', 'X', 'Y')    /* the header of the PROXY protocol, version 1 */
#define NAME_SSH NAME(0, 0, 0, 'S', 'S', 'H', '-')        /* the version of SSH, RFC 4253 section 4.2 */

/* The words that are read in a request, in lower case. A set of candidates is a byte, one bit for each word. */
enum {
    WORD_HOST,
    WORD_CONNECTION,
    WORD_CONTENT_LENGTH,
    WORD_TRANSFER_ENCODING,
    WORD_EXPECT,
    WORD_ACCEPT, /* the last one, as it is read only where the route needs it */
    WORD_FIELDS, /* the number of field names; the other words are values */
    WORD_CLOSE = 0,
    WORD_KEEP_ALIVE,
    WORD_CHUNKED,
    WORD_CONTINUE,
    WORD_VALUES,
    RANGE_ANY = 0, /* media ranges of Accept */
    RANGE_APPLICATION,
    RANGE_TEXT,
    RANGE_JSON,
    RANGE_TEXT_PLAIN,
    RANGES, /* the number of media ranges; the other words are parameters */
    PARAMETER_QUALITY = RANGES,
    PARAMETER_UTF_8,
    PARAMETER_UTF_8_QUOTED,
    WORD_ACCEPTS,
    WORD_SIZE = 18, /* of the longest one, and a NUL */
};

static const char field_words[WORD_FIELDS][WORD_SIZE] = {
    [WORD_HOST] = "host",
    [WORD_CONNECTION] = "connection",
    [WORD_CONTENT_LENGTH] = "content-length",
    [WORD_TRANSFER_ENCODING] = "transfer-encoding",
    [WORD_EXPECT] = "expect",
    [WORD_ACCEPT] = "accept",
};

static const char value_words[WORD_VALUES][WORD_SIZE] = {
    [WORD_CLOSE] = "close",
    [WORD_KEEP_ALIVE] = "keep-alive",
    [WORD_CHUNKED] = "chunked",
    [WORD_CONTINUE] = "100-continue",
};

static const char accept_words[WORD_ACCEPTS][WORD_SIZE] = {
    [RANGE_ANY] = "*/*",
    [RANGE_APPLICATION] = "application/*",
    [RANGE_TEXT] = "text/*",
    [RANGE_JSON] = "application/json",
    [RANGE_TEXT_PLAIN] = "text/plain",
    [PARAMETER_QUALITY] = "q",
    [PARAMETER_UTF_8] = "charset=utf-8",
    [PARAMETER_UTF_8_QUOTED] = "charset=\"utf-8\"",
};

/* clang-format on */
#endif
