/* Scans of 16 bytes at a time, where the CPU has vector instructions.
 *
 * Most bytes of a browser's request are values of fields that are not read. A scan finds the first byte that is not
 * valid in a value: the end of the line, or an error. */
#ifndef YINYANG_SIMD_SCAN_H
#define YINYANG_SIMD_SCAN_H

#include <stddef.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* field-value, RFC 9110 section 5.5: visible bytes, SP, HTAB and obs-text; no other control byte, no DEL. */
static inline int byte_in_value(unsigned char byte)
{
    return (byte >= 0x20 && byte != 0x7f) || byte == '\t';
}

/* The first byte in [pos, end) that is not valid in a field value, or end. */
static inline const unsigned char *scan_value(const unsigned char *pos, const unsigned char *end)
{
#ifdef __SSE2__
    const __m128i last_control = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t'), del = _mm_set1_epi8(0x7f);
    for (; end - pos >= 16; pos += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)pos);
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, last_control), bytes);
        __m128i error = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(bytes, tab), control), _mm_cmpeq_epi8(bytes, del));
        unsigned int found = (unsigned int)_mm_movemask_epi8(error);
        if (found)
            return pos + __builtin_ctz(found);
    }
#endif
    while (pos != end && byte_in_value(*pos))
        pos++;
    return pos;
}

/* Whether `length` bytes are equal. */
static inline int scan_equal(const unsigned char *one, const unsigned char *other, size_t length)
{
    size_t pos = 0;
#ifdef __SSE2__
    for (; length - pos >= 16; pos += 16) {
        __m128i same = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(one + pos)),
                                      _mm_loadu_si128((const __m128i *)(other + pos)));
        if (_mm_movemask_epi8(same) != 0xffff)
            return 0;
    }
#endif
    while (pos != length && one[pos] == other[pos])
        pos++;
    return pos == length;
}

#endif
