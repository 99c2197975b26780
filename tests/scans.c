/* Compares the scans of csrc/simd_scan.h with loops over bytes, for each byte in each place of memory that ends where it
 * is allocated. Built with and without YINYANG_NO_SIMD, so both ways of scanning are compared. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simd_scan.h"

enum { SIZE_MOST = 50, BEGIN_MOST = 20 };

typedef const unsigned char *Scan(const unsigned char *, const unsigned char *, const unsigned char *);

static int is_value(int byte)
{
    return byte == '\t' || (byte >= ' ' && byte <= '~') || byte >= 0x80;
}

static int is_name(int byte)
{
    return byte && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-", byte) != NULL;
}

/* The first `begin` bytes come before the scan, and `other` is at `place`; the rest is of the class. */
static int compare_scan(const char *name, Scan *scan, int (*in_class)(int), int size, int begin, int place, int other)
{
    unsigned char *memory = malloc((size_t)size + 1); /* never without a byte */
    unsigned char *bytes = memory + 1;
    memset(memory, 'a', (size_t)size + 1);
    if (place < size)
        bytes[place] = (unsigned char)other;
    int expected = begin;
    while (expected < size && in_class(bytes[expected]))
        expected++;
    long found = scan(bytes, bytes + begin, bytes + size) - bytes;
    free(memory);
    if (found == expected)
        return 0;
    printf("scan_%s: %d bytes, from %d on, byte %d at %d: found %ld\n", name, size, begin, other, place, found);
    return 1;
}

static int compare_scans(const char *name, Scan *scan, int (*in_class)(int))
{
    for (int size = 0; size <= SIZE_MOST; size++)
        for (int begin = 0; begin <= size && begin <= BEGIN_MOST; begin++)
            for (int place = begin; place <= size; place++)
                for (int other = 0; other < 256; other++)
                    if (compare_scan(name, scan, in_class, size, begin, place, other))
                        return 1;
    return 0;
}

/* A word with `other` at `place`, as the first `length` of `size` bytes. */
static int compare_word(const char *word, int length, int size, int place, int other)
{
    unsigned char *bytes = malloc((size_t)size);
    memset(bytes, ':', (size_t)size);
    memcpy(bytes, word, strlen(word) < (size_t)size ? strlen(word) : (size_t)size);
    if (other)
        bytes[place] = (unsigned char)other;
    int expected = length == (int)strlen(word);
    for (int i = 0; i < length; i++) {
        int lower_case = bytes[i] >= 'A' && bytes[i] <= 'Z' ? bytes[i] + 'a' - 'A' : bytes[i];
        expected = expected && lower_case == word[i];
    }
    int found = is_word(bytes, length, bytes + size, word);
    free(bytes);
    if (found == expected)
        return 0;
    printf("is_word: %d of %d bytes are %s, byte %d at %d: %d\n", length, size, word, other, place, found);
    return 1;
}

static int compare_words(const char (*words)[WORD_SIZE], int count)
{
    for (int i = 0; i < count; i++)
        for (int length = 1; length <= WORD_SIZE + 4; length++)
            for (int size = length; size <= length + BLOCK + 1; size++)
                for (int place = 0; place < length; place++)
                    for (int other = 0; other < 256; other++)
                        if ((other == 0 || is_value(other)) && compare_word(words[i], length, size, place, other))
                            return 1;
    return 0;
}

int main(void)
{
#ifdef SCAN_BLOCKS
    puts("16 bytes at a time");
#else
    puts("one byte at a time");
#endif
    return compare_scans("value", scan_value, is_value) || compare_scans("name", scan_name, is_name) ||
           compare_words(field_words, WORD_FIELDS) || compare_words(value_words, WORD_VALUES - 1);
}
