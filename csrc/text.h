/* A place that text is put into: bounded, and it counts what did not fit, so that it also measures.
 *
 * In C because Cython has no functions that take any number of values; the rest of it is in yinyang/core/text/buffer.pxd. */
#ifndef YINYANG_TEXT_H
#define YINYANG_TEXT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text {
    char *data;
    size_t room;   /* bytes that may be written at `data` */
    size_t length; /* bytes that were put; more than room: what is there is cut off */
};

static inline void text_put(struct text *text, const char *bytes, size_t length)
{
    if (text->length < text->room)
        memcpy(text->data + text->length, bytes, length < text->room - text->length ? length : text->room - text->length);
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

/* Bytes of the character that begins here, which a NUL ends at the latest; 0 if none does (UTF-8, RFC 3629). */
static inline size_t text_character(const char *string)
{
    const unsigned char *pos = (const unsigned char *)string;
    unsigned int two = pos[0] << 8 | pos[1];
    size_t length = two < 0xe000 ? 2 : two < 0xf000 ? 3 : 4;
    if (two < 0x8000)
        return 1;
    /* it has no form longer than it needs, is no half of a pair (UTF-16), and not beyond the last one */
    if (two < 0xc280 || (two & 0xffe0) == 0xe080 || (two & 0xfff0) == 0xf080 || (two & 0xffe0) == 0xeda0 || two > 0xf48f)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((pos[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

/* In the quotes of JSON (RFC 8259) and of labels of Prometheus; the bytes are printable. What is not UTF-8 becomes U+FFFD,
 * as neither allows it. */
static inline void text_quoted_string(struct text *text, const char *string)
{
    text_string(text, "\"");
    while (*string) {
        size_t length = text_character(string);
        if (*string == '"' || *string == '\\')
            text_string(text, "\\");
        if (length)
            text_put(text, string, length);
        else
            text_string(text, "\xef\xbf\xbd");
        string += length + !length;
    }
    text_string(text, "\"");
}

/* A template with a value for each of its verbs, as in printf(3), so that compilers check the types: %s is a string, %-s a
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
