/* A buffer of a fixed size for text. It counts bytes that do not fit, so it also measures.
 *
 * In C because Cython has no variadic functions; the rest of it is in yinyang/core/text/buffer.pxd. */
#ifndef YINYANG_TEXT_H
#define YINYANG_TEXT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text {
    char *data;
    size_t room;   /* bytes that may be written at `data` */
    size_t length; /* bytes that were put; if it exceeds room, the text is cut off */
};

/* Copy a few bytes. The pieces of a text are short; musl's memcpy(3) begins with `rep movs`, whose start takes longer than
 * copying most of them. */
static inline void copy_short(char *to, const char *from, size_t length)
{
    for (; length >= 8; length -= 8, to += 8, from += 8)
        __builtin_memcpy(to, from, 8);
    if (length & 4) {
        __builtin_memcpy(to, from, 4);
        to += 4, from += 4;
    }
    if (length & 2) {
        __builtin_memcpy(to, from, 2);
        to += 2, from += 2;
    }
    if (length & 1)
        *to = *from;
}

static inline void text_put(struct text *text, const char *bytes, size_t length)
{
    if (text->length < text->room)
        copy_short(text->data + text->length, bytes,
                   length < text->room - text->length ? length : text->room - text->length);
    text->length += length;
}

static inline void text_string(struct text *text, const char *string)
{
    text_put(text, string, strlen(string));
}

/* In decimal. */
static inline void text_number(struct text *text, uint64_t number)
{
    char digits[20], *pos = digits + sizeof digits;
    do
        *--pos = (char)('0' + number % 10);
    while (number /= 10);
    text_put(text, pos, (size_t)(digits + sizeof digits - pos));
}

/* The characters of UTF-8 by their first byte, as in the syntax of RFC 3629 section 4: the length, and the range of the
 * second byte. All later bytes are from 0x80 to 0xbf. The range excludes overlong forms, surrogates, and what is above
 * U+10FFFF. */
static const struct utf8_row {
    unsigned char first_min, first_max, length, second_min, second_max;
} utf8_rows[] = {
    {0x01, 0x7f, 1, 0x00, 0x00}, /* UTF8-1 */
    {0xc2, 0xdf, 2, 0x80, 0xbf}, /* UTF8-2 */
    {0xe0, 0xe0, 3, 0xa0, 0xbf}, /* UTF8-3 */
    {0xe1, 0xec, 3, 0x80, 0xbf}, {0xed, 0xed, 3, 0x80, 0x9f},
    {0xee, 0xef, 3, 0x80, 0xbf}, {0xf0, 0xf0, 4, 0x90, 0xbf}, /* UTF8-4 */
    {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
};

static inline int utf8_continues(const unsigned char *bytes, const struct utf8_row *row)
{
    if (row->length == 1)
        return 1;
    if (bytes[1] < row->second_min || bytes[1] > row->second_max)
        return 0;
    for (size_t i = 2; i < row->length; i++) /* a NUL is no such byte, so nothing behind the string is read */
        if (bytes[i] < 0x80 || bytes[i] > 0xbf)
            return 0;
    return 1;
}

/* The length of the character that a string begins with; 0 if it begins with none. */
static inline size_t utf8_length(const char *string)
{
    const unsigned char *bytes = (const unsigned char *)string;
    for (size_t i = 0; i < sizeof utf8_rows / sizeof *utf8_rows; i++) {
        const struct utf8_row *row = &utf8_rows[i];
        if (row->first_min <= bytes[0] && bytes[0] <= row->first_max)
            return utf8_continues(bytes, row) ? row->length : 0;
    }
    return 0;
}

/* The number of ASCII characters that come first and that stand for themselves in quotes. */
static inline size_t plain_length(const char *bytes, const char *end)
{
    const char *pos = bytes;
    while (pos < end && *pos >= ' ' && *pos <= '~' && *pos != '"' && *pos != '\\')
        pos++;
    return (size_t)(pos - bytes);
}

/* Bytes in quotes, as in JSON (RFC 8259) and in labels of Prometheus; the only control byte in them is HTAB. Bytes that
 * are not UTF-8 become U+FFFD, as neither format allows them. Three bytes behind the last one may be read. */
static inline void text_quoted_bytes(struct text *text, const char *bytes, size_t count)
{
    const char *end = bytes + count;
    text_string(text, "\"");
    while (bytes < end) {
        size_t length = plain_length(bytes, end); /* of most strings, all of them */
        if (!length) {
            length = utf8_length(bytes);
            if (length > (size_t)(end - bytes)) /* it goes on behind them */
                length = 0;
            if (*bytes == '"' || *bytes == '\\')
                text_string(text, "\\");
        }
        if (*bytes == '\t')
            text_string(text, "\\t");
        else if (length)
            text_put(text, bytes, length);
        else
            text_string(text, "\xef\xbf\xbd");
        bytes += length + !length;
    }
    text_string(text, "\"");
}

static inline void text_quoted_string(struct text *text, const char *string)
{
    text_quoted_bytes(text, string, strlen(string));
}

/* A template with a value for each of its verbs, as in printf(3), so compilers check the types: %s is a string, %-s a
 * string in quotes, %llu a number, and %02llu a number below 100 in two digits. */
__attribute__((format(printf, 2, 3))) static void text_format(struct text *text, const char *template, ...)
{
    va_list values;
    va_start(values, template);
    while (*template) {
        if (*template != '%') {
            size_t length = strcspn(template, "%");
            text_put(text, template, length);
            template += length;
        } else if (template[1] == 's') {
            text_string(text, va_arg(values, const char *));
            template += strlen("%s");
        } else if (template[1] == '-') {
            text_quoted_string(text, va_arg(values, const char *));
            template += strlen("%-s");
        } else {
            unsigned long long number = va_arg(values, unsigned long long);
            int two_digits = template[1] == '0';
            if (two_digits && number < 10)
                text_put(text, "0", 1);
            text_number(text, number);
            template += two_digits ? strlen("%02llu") : strlen("%llu");
        }
    }
    va_end(values);
}

#endif
