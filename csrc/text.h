/* A place that text is put into: bounded, and it counts what did not fit, so that it also measures.
 *
 * In C because Cython has no functions that take any number of values; the rest of it is in yinyang/core/text.pxd. */
#ifndef YINYANG_TEXT_H
#define YINYANG_TEXT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text {
    char *at;
    size_t room;   /* bytes that may be written at `at` */
    size_t length; /* bytes that were put; more than room: what is there is cut off */
};

static inline void text_put(struct text *text, const char *bytes, size_t length)
{
    if (text->length < text->room)
        memcpy(text->at + text->length, bytes, length < text->room - text->length ? length : text->room - text->length);
    text->length += length;
}

static inline void text_string(struct text *text, const char *string)
{
    text_put(text, string, strlen(string));
}

/* In decimal. */
static inline void text_number(struct text *text, uint64_t number)
{
    char digits[20], *at = digits + sizeof digits;
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    text_put(text, at, (size_t)(digits + sizeof digits - at));
}

/* A template with a value for each of its verbs: %s is a string, %lu a number, and %02lu one below 100 in two digits. As
 * printf(3), so that compilers check that the values fit; each is one word, whichever it is. */
__attribute__((format(printf, 2, 3))) static void text_format(struct text *text, const char *template, ...)
{
    va_list values;
    va_start(values, template);
    for (; *template; template++) {
        uintptr_t value;
        if (*template != '%') {
            text_put(text, template, 1);
            continue;
        }
        value = va_arg(values, uintptr_t);
        if (*++template == 's') {
            text_string(text, (const char *)value);
            continue;
        }
        if (*template == '0') {
            template += 2;
            if (value < 10)
                text_put(text, "0", 1);
        }
        template++;
        text_number(text, value);
    }
    va_end(values);
}

#endif
