/* What each byte may be in a request: one table, a bit for each role.
 *
 * A constant table in C, because the core may hold no table that is filled in at run time. */
#ifndef YINYANG_BYTES_H
#define YINYANG_BYTES_H

enum {
    BYTE_TOKEN = 1,  /* tchar, RFC 9110 section 5.6.2: methods and field names */
    BYTE_HOST = 2,   /* uri-host and port, RFC 3986 section 3.2, as far as single bytes tell */
    BYTE_PATH = 4,   /* request-target, less the bytes that mean something in a path: . / ? % # */
    BYTE_SCHEME = 8, /* scheme, RFC 3986 section 3.1, after its first letter */
    BYTE_DIGIT = 16,
    BYTE_HEX = 32,
    BYTE_QUERY = 64, /* query, RFC 3986 section 3.4, as leniently as the path */
};

#define PLAIN (BYTE_PATH | BYTE_QUERY)
#define LETTER (BYTE_TOKEN | BYTE_HOST | PLAIN | BYTE_SCHEME)

static const unsigned char byte_roles[256] = {
    ['0' ... '9'] = LETTER | BYTE_DIGIT | BYTE_HEX,
    ['a' ... 'f'] = LETTER | BYTE_HEX,
    ['g' ... 'z'] = LETTER,
    ['A' ... 'F'] = LETTER | BYTE_HEX,
    ['G' ... 'Z'] = LETTER,
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
};

#undef LETTER
#undef PLAIN

/* The words that are looked for in a request, in lower case. A set of candidates is a byte, one bit for each. */
enum {
    WORD_HOST,
    WORD_CONNECTION,
    WORD_CONTENT_LENGTH,
    WORD_TRANSFER_ENCODING,
    WORD_EXPECT,
    WORD_FIELDS, /* how many of the words are names of fields; the others are values of fields */
    WORD_CLOSE = 0,
    WORD_KEEP_ALIVE,
    WORD_CHUNKED,
    WORD_CONTINUE,
    WORD_VALUES,
};

static const char field_words[WORD_FIELDS][24] = {
    [WORD_HOST] = "host",
    [WORD_CONNECTION] = "connection",
    [WORD_CONTENT_LENGTH] = "content-length",
    [WORD_TRANSFER_ENCODING] = "transfer-encoding",
    [WORD_EXPECT] = "expect",
};

static const char value_words[WORD_VALUES][24] = {
    [WORD_CLOSE] = "close",
    [WORD_KEEP_ALIVE] = "keep-alive",
    [WORD_CHUNKED] = "chunked",
    [WORD_CONTINUE] = "100-continue",
};

#endif
